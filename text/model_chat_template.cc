#include "text/model_chat_template.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "text/chat_template.h"
#include "text/tokenizer_json.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kTemplateFile[] = "chat_template.jinja";
constexpr char kTemplateJsonFile[] = "chat_template.json";

absl::StatusOr<std::string> ReadOr(ModelDirectory& directory, const std::string& file,
                                   const char* otherwise) {
  absl::StatusOr<std::string> text = directory.ReadAll(file);
  if (absl::IsNotFound(text.status())) return otherwise;
  return text;
}

absl::Status Missing(const std::string& why) {
  return MakeError(
      absl::StatusCode::kInvalidArgument, "CHAT_TEMPLATE_MISSING",
      absl::StrCat("the row is a conversation, and the model ", why,
                   "; give rows with a field `text`, or put a ", kTemplateFile, " beside the model"));
}

absl::StatusOr<Json> ReadObject(ModelDirectory& directory, const std::string& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadOr(directory, file, "{}"));
  absl::StatusOr<Json> object = ParseOrderedJson(text);
  if (!object.ok()) return InvalidTokenizer(file, std::string(object.status().message()));
  if (!object->is_object()) return InvalidTokenizer(file, "the file is not a JSON object");
  return object;
}

// A list of named templates has one for ordinary conversations.
absl::StatusOr<std::string> DefaultOf(const Json& list) {
  std::vector<std::string> names;
  for (const Json& entry : list) {
    const bool named = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                       entry.contains("template") && entry["template"].is_string();
    if (!named)
      return InvalidTokenizer(kTokenizerConfigFile, "chat_template has an entry without name and template");
    if (entry["name"] == "default") return entry["template"].get<std::string>();
    names.push_back(entry["name"].get<std::string>());
  }
  return Missing(absl::StrCat("has no chat template named default, only ", absl::StrJoin(names, ", ")));
}

struct FoundTemplate {
  std::string text;
  std::string file;
};

// In the order of transformers: a file of its own, then the configurations.
absl::StatusOr<FoundTemplate> FindTemplate(ModelDirectory& directory, const Json& config) {
  ASSIGN_OR_RETURN(std::string text, ReadOr(directory, kTemplateFile, ""));
  if (!text.empty()) return FoundTemplate{std::move(text), kTemplateFile};
  ASSIGN_OR_RETURN(const Json file, ReadObject(directory, kTemplateJsonFile));
  for (const auto& [object, name] :
       {std::pair(&config, kTokenizerConfigFile), std::pair(&file, kTemplateJsonFile)}) {
    if (!object->contains("chat_template") || (*object)["chat_template"].is_null()) continue;
    const Json& found = (*object)["chat_template"];
    if (found.is_string()) return FoundTemplate{found.get<std::string>(), name};
    if (!found.is_array()) return InvalidTokenizer(name, "chat_template is neither a string nor a list");
    ASSIGN_OR_RETURN(text, DefaultOf(found));
    return FoundTemplate{std::move(text), name};
  }
  return Missing("has no chat template");
}

// What a template can ask for beside the conversation.
Json Variables(const Json& config) {
  Json variables = {{"documents", nullptr}, {"add_generation_prompt", false}};
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    if (!config.contains(key)) continue;
    const Json& token = config[key];
    if (token.is_string()) variables[key] = token;
    if (token.is_object() && token.contains("content")) variables[key] = token["content"];
  }
  return variables;
}

struct ModelChat {
  ChatTemplate parsed;
  Json variables;
};

absl::StatusOr<ModelChat> Open(ModelDirectory& directory) {
  ASSIGN_OR_RETURN(const Json config, ReadObject(directory, kTokenizerConfigFile));
  ASSIGN_OR_RETURN(const FoundTemplate found, FindTemplate(directory, config));
  ASSIGN_OR_RETURN(ChatTemplate parsed, ChatTemplate::Parse(found.text, found.file));
  return ModelChat{std::move(parsed), Variables(config)};
}

}  // namespace

std::function<absl::StatusOr<std::string>(const Json&, const Json&)> ModelChatRenderer(
    ModelDirectory& directory) {
  auto chat = std::make_shared<std::optional<ModelChat>>();
  return [&directory, chat](const Json& messages, const Json& tools) -> absl::StatusOr<std::string> {
    if (!chat->has_value()) {
      ASSIGN_OR_RETURN(*chat, Open(directory));
    }
    Json variables = (*chat)->variables;
    variables["messages"] = messages;
    variables["tools"] = tools;
    return (*chat)->parsed.Render(variables);
  };
}

}  // namespace quantmoe
