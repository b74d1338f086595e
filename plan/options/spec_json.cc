#include "plan/options/spec_json.h"

#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/exception_text.h"
#include "base/json.h"
#include "base/json_number.h"

namespace quantmoe {
namespace {

using nlohmann::json;

template <typename T>
json ToJson(const T& value);

// Every option but those that are input alone.
template <HasOptions Spec>
json WholeJson(const Spec& spec) {
  json out = json::object();
  auto visit = [&out](const OptionInfo& option, const auto& value) {
    if (option.kept != Kept::kNever) out[option.name] = ToJson(value);
  };
  VisitOptions(spec, visit);
  return out;
}

// Whether documents hold the option with this value.
template <HasOptions Spec>
bool IsKept(const OptionInfo& option, const json& value) {
  static const json& defaults = *new json(WholeJson(Spec{}));
  if (option.kept == Kept::kUnlessDefault) return value != defaults.at(option.name);
  return option.kept == Kept::kAlways;
}

template <HasOptions Spec>
json SpecToJson(const Spec& spec) {
  json out = json::object();
  auto visit = [&out](const OptionInfo& option, const auto& value) {
    if (option.kept == Kept::kNever) return;
    json written = ToJson(value);
    if (IsKept<Spec>(option, written)) out[option.name] = std::move(written);
  };
  VisitOptions(spec, visit);
  return out;
}

template <typename T>
json ListJson(const std::vector<T>& values) {
  json out = json::array();
  for (const T& value : values) out.push_back(ToJson(value));
  return out;
}

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

template <typename T>
json ToJson(const T& value) {
  if constexpr (kIsOptional<T>) {
    return value ? ToJson(*value) : json(nullptr);
  } else if constexpr (NamedChoice<T>) {
    return std::string(ChoiceName(value));
  } else if constexpr (std::same_as<T, Digest>) {
    return DigestJson(value);
  } else if constexpr (HasOptions<T>) {
    return SpecToJson(value);
  } else if constexpr (IsVector<T>::value) {
    return ListJson(value);
  } else {
    return json(value);
  }
}

[[noreturn]] void Refuse(const std::string& path, absl::string_view problem) {
  throw std::invalid_argument(absl::StrCat(path, " ", problem));
}

template <typename T>
void FromJson(const json& from, const std::string& path, T& value);

template <HasOptions Spec>
void SpecFromJson(const json& from, const std::string& path, Spec& spec) {
  if (!from.is_object()) Refuse(path, "is not an object");
  json unknown = from;
  auto visit = [&](const OptionInfo& option, auto& value) {
    const auto found = from.find(option.name);
    if (option.kept == Kept::kNever || found == from.end()) return;
    unknown.erase(option.name);
    if (!found->is_null()) FromJson(*found, absl::StrCat(path, ".", option.name), value);
  };
  VisitOptions(spec, visit);
  if (!unknown.empty()) Refuse("unknown key", absl::StrCat(path, ".", unknown.begin().key()));
}

template <typename T>
void ListFromJson(const json& from, const std::string& path, std::vector<T>& values) {
  if (!from.is_array()) Refuse(path, "is not a list");
  values.clear();
  for (size_t i = 0; i < from.size(); ++i)
    FromJson(from[i], absl::StrCat(path, "[", i, "]"), values.emplace_back());
}

template <typename T>
void ScalarFromJson(const json& from, const std::string& path, T& value) {
  if constexpr (std::same_as<T, bool>) {
    if (!from.is_boolean()) Refuse(path, "is neither true nor false");
  } else if constexpr (std::integral<T>) {
    if (!FindInteger<T>(from)) Refuse(path, "is no whole number");
  } else if constexpr (std::floating_point<T>) {
    if (!from.is_number()) Refuse(path, "is no number");
  } else if constexpr (std::same_as<T, std::string>) {
    if (!from.is_string()) Refuse(path, "is no text");
  }
  value = from.get<T>();
}

template <typename T>
void FromJson(const json& from, const std::string& path, T& value) {
  if constexpr (kIsOptional<T>) {
    value.reset();
    if (!from.is_null()) FromJson(from, path, value.emplace());
  } else if constexpr (NamedChoice<T>) {
    const auto parsed = ParseChoice<T>(from.is_string() ? from.get<std::string>() : from.dump());
    if (!parsed.ok()) Refuse(path, parsed.status().message());
    value = *parsed;
  } else if constexpr (std::same_as<T, Digest>) {
    value = DigestFromJson(from);
  } else if constexpr (HasOptions<T>) {
    SpecFromJson(from, path, value);
  } else if constexpr (IsVector<T>::value) {
    ListFromJson(from, path, value);
  } else {
    ScalarFromJson(from, path, value);
  }
}

absl::string_view ParamKey(const OptionInfo& option) {
  return option.task_key[0] == '\0' ? option.name : option.task_key;
}

template <HasOptions Spec>
void AddParams(const Spec& spec, unsigned tasks, json& params) {
  auto visit = [&](const OptionInfo& option, const auto& value) {
    if ((option.tasks & tasks) != 0) {
      json written = ToJson(value);
      if (IsKept<Spec>(option, written)) params[std::string(ParamKey(option))] = std::move(written);
    } else if constexpr (HasOptions<std::remove_cvref_t<decltype(value)>>) {
      AddParams(value, tasks, params);
    }
  };
  VisitOptions(spec, visit);
}

template <HasOptions Spec>
void ReadParams(const json& params, unsigned tasks, Spec& spec) {
  auto visit = [&](const OptionInfo& option, auto& value) {
    if ((option.tasks & tasks) != 0) {
      const std::string key(ParamKey(option));
      const auto found = params.find(key);
      if (found != params.end()) return FromJson(*found, key, value);
      if (option.kept == Kept::kAlways) Refuse(key, "is missing");
    } else if constexpr (HasOptions<std::remove_cvref_t<decltype(value)>>) {
      ReadParams(params, tasks, value);
    }
  };
  VisitOptions(spec, visit);
}

// Runs `decode`; what it throws becomes INVALID_ARGUMENT "<what>: ...".
template <typename Decode>
absl::Status Guard(absl::string_view what, Decode decode) {
  try {
    decode();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", ExceptionText(error)));
  }
}

}  // namespace

json DigestJson(const Digest& digest) {
  return {{"sha256", digest.sha256}, {"size_bytes", digest.size_bytes}};
}

Digest DigestFromJson(const json& from) {
  Digest digest{from.at("sha256").get<std::string>(), IntegerAt<int64_t>(from, "size_bytes")};
  if (!digest.sha256.empty() && !IsSha256(digest.sha256)) throw std::invalid_argument("bad sha256");
  if (digest.size_bytes < 0) throw std::invalid_argument("negative size_bytes");
  return digest;
}

json JobSpecJson(const JobSpec& spec) {
  json out = SpecToJson(spec);
  out["model_uri"] = out["model"]["uri"];
  out.erase("model");
  return out;
}

std::string JobSpecToJson(const JobSpec& spec) { return JobSpecJson(spec).dump(); }

absl::StatusOr<JobSpec> JobSpecFromJson(absl::string_view text) {
  absl::StatusOr<json> document = ParseJson(text);
  if (!document.ok())
    return absl::InvalidArgumentError(absl::StrCat("job spec: ", document.status().message()));
  JobSpec spec;
  const absl::Status read = Guard("job spec", [&] {
    if (!document->is_object()) Refuse("it", "is not an object");
    if (document->contains("model")) Refuse("unknown key", ".model");
    if (const auto uri = document->find("model_uri"); uri != document->end()) {
      (*document)["model"]["uri"] = *uri;
      document->erase("model_uri");
    }
    SpecFromJson(*document, "", spec);
  });
  return read.ok() ? absl::StatusOr<JobSpec>(std::move(spec)) : read;
}

void AddTaskParams(const JobSpec& spec, unsigned tasks, json& params) { AddParams(spec, tasks, params); }

absl::Status ReadTaskParams(const json& params, unsigned tasks, JobSpec& spec) {
  return Guard("task parameter", [&] { ReadParams(params, tasks, spec); });
}

}  // namespace quantmoe
