#include "client/verify/weight_check.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <nlohmann/json.hpp>

#include "base/exception_text.h"
#include "base/json.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "storage/mapped_file.h"
#include "storage/safetensors.h"
#include "storage/weight_format.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr char kConfig[] = "config.json", kPlan[] = "quantmoe_plan.json",
               kIndex[] = "model.safetensors.index.json";

// A linear of the plan.
struct Module {
  std::string name;
  int64_t out = 0, in = 0;
  int width = 0;
  bool symmetric = true;
};

struct Plan {
  int64_t group_size = 0, weight_file_bytes = 0;
  std::vector<Module> modules;
};

absl::StatusOr<Json> ReadJson(const fs::path& path) {
  const absl::StatusOr<std::string> text = ReadWholeFile(path.string(), kMaxDataBytes);
  if (!text.ok()) return absl::NotFoundError("cannot be read");
  Json json = ParseOrderedJson(QuoteNonFinite(*text)).value_or(nullptr);
  if (!json.is_object()) return absl::DataLossError("is no JSON object");
  return json;
}

absl::StatusOr<Plan> ParsePlan(const Json& json) {
  try {
    Plan plan{json.at("group_size").get<int64_t>(), json.at("weight_file_bytes").get<int64_t>(), {}};
    for (const Json& item : json.at("linears")) {
      const Json& linear = item.at("linear");
      Module module{linear.at("name").get<std::string>(), linear.at("out").get<int64_t>(),
                    linear.at("in").get<int64_t>(), item.at("bits").get<int>(),
                    item.value("symmetric", true)};
      const bool fits = plan.group_size > 0 && plan.group_size % 32 == 0 && module.in > 0 &&
                        module.in % plan.group_size == 0 && module.out > 0 && module.out % 32 == 0;
      const bool known = module.width == 2 || module.width == 3 || module.width == 4 || module.width == 8;
      if (!fits || !known) return absl::DataLossError(absl::StrCat(module.name, " has a bad shape or width"));
      plan.modules.push_back(std::move(module));
    }
    return plan;
  } catch (const std::exception& error) {
    return absl::DataLossError(absl::StrCat("is no plan: ", ExceptionText(error)));
  }
}

std::string ShapeText(DType dtype, const std::vector<int64_t>& shape) {
  return absl::StrCat(DTypeName(dtype), " [", absl::StrJoin(shape, ", "), "]");
}

template <typename T>
T At(absl::string_view bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

std::string Text(const DeclaredWidth& width) {
  return absl::StrCat(width.width, " bits in groups of ", width.group_size,
                      width.symmetric ? "" : " with other zero points");
}

// The words of 32 outputs in which `pattern` says what each bit of a zero point is.
std::vector<uint32_t> ZeroWords(int width, const std::function<bool(int)>& pattern) {
  std::vector<uint32_t> words(static_cast<size_t>(width), 0);
  for (int bit = 0; bit < 32 * width; ++bit) {
    if (pattern(bit % width)) words[static_cast<size_t>(bit / 32)] |= 1u << (bit % 32);
  }
  return words;
}

// Says what is wrong with the content of a tensor; empty when nothing is.
std::string CheckScales(absl::string_view bytes, int64_t columns) {
  const int64_t count = static_cast<int64_t>(bytes.size()) / 2;
  int64_t bad = 0, first = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = At<uint16_t>(bytes, i);
    const bool finite = (bits & 0x7c00) != 0x7c00, zero = (bits & 0x7fff) == 0;
    if (finite && !zero) continue;
    if (bad++ == 0) first = i;
  }
  if (bad == 0) return "";
  return absl::StrCat(bad, " of ", count, " scales are zero or not finite, the first at [", first / columns,
                      ", ", first % columns, "]");
}

// Stored is one less than the zero point: 2^(bits-1) - 1 where it is symmetric, else that with any lowest
// bit.
std::string CheckZeros(absl::string_view bytes, int64_t columns, const Module& module) {
  const int width = module.width;
  const auto expected = ZeroWords(width, [width](int bit) { return bit != width - 1; });
  const auto free = ZeroWords(width, [&](int bit) { return bit == 0 && !module.symmetric; });
  const int64_t count = static_cast<int64_t>(bytes.size()) / 4;
  for (int64_t i = 0; i < count; ++i) {
    const auto word = static_cast<size_t>(i % columns % width);
    if (((At<uint32_t>(bytes, i) ^ expected[word]) & ~free[word]) == 0) continue;
    return absl::StrCat(
        module.symmetric ? "is not the symmetric zero point" : "is no zero point of signed scales", " at [",
        i / columns, ", ", i % columns, "]");
  }
  return "";
}

std::string CheckIndex(absl::string_view bytes, int64_t group_size) {
  const int64_t count = static_cast<int64_t>(bytes.size()) / 4;
  for (int64_t i = 0; i < count; ++i) {
    if (At<int32_t>(bytes, i) != i / group_size) return absl::StrCat("is not i / group_size at ", i);
  }
  return "";
}

std::string CheckShape(absl::string_view bytes, const Module& module) {
  const bool same = At<int64_t>(bytes, 0) == module.out && At<int64_t>(bytes, 1) == module.in;
  return same ? "" : absl::StrCat("is not [", module.out, ", ", module.in, "]");
}

class WeightChecker {
 public:
  explicit WeightChecker(std::string directory) : root_(std::move(directory)) {}

  std::vector<WeightProblem> Run() {
    ReadConfig();
    if (const absl::StatusOr<Json> json = ReadJson(root_ / kPlan); !json.ok()) {
      Add(kPlan, "", json.status());
    } else if (absl::StatusOr<Plan> plan = ParsePlan(*json); !plan.ok()) {
      Add(kPlan, "", plan.status());
    } else {
      plan_ = *std::move(plan);
    }
    OpenFiles();
    if (!plan_ || !widths_) return std::move(problems_);
    for (const Module& module : plan_->modules) CheckModule(module);
    CheckOthers();
    return std::move(problems_);
  }

 private:
  void Add(const std::string& file, const std::string& tensor, const std::string& what) {
    problems_.push_back({file, tensor, what});
  }
  void Add(const std::string& file, const std::string& tensor, const absl::Status& status) {
    Add(file, tensor, std::string(status.message()));
  }

  void ReadConfig() {
    const absl::StatusOr<Json> config = ReadJson(root_ / kConfig);
    if (!config.ok()) return Add(kConfig, "", config.status());
    const Json quantization = config->value("quantization_config", Json());
    const Json method = quantization.is_object() ? quantization.value("quant_method", Json()) : Json();
    format_ = method.is_string() ? FindWeightFormat(method.get<std::string>()) : nullptr;
    if (format_ == nullptr) {
      return Add(kConfig, "", absl::StrCat("quantization_config is neither ", WeightFormatNames(" nor ")));
    }
    if (const std::string copy(format_->config_copy); !copy.empty()) CheckCopy(copy, quantization);
    absl::StatusOr<DeclaredWidths> widths = format_->declared_widths(quantization);
    if (!widths.ok()) return Add(kConfig, "", widths.status());
    widths_ = *std::move(widths);
  }

  void CheckCopy(const std::string& file, const Json& quantization) {
    const absl::StatusOr<Json> copy = ReadJson(root_ / file);
    if (!copy.ok()) {
      Add(file, "", copy.status());
    } else if (copy->dump() != quantization.dump()) {
      Add(file, "", "differs from quantization_config in config.json");
    }
  }

  void OpenFiles() {
    std::set<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(root_, error)) {
      if (entry.path().extension() == ".safetensors") names.insert(entry.path().filename().string());
    }
    if (names.empty()) Add("model.safetensors", "", "there are no weight files");
    int64_t bytes = 0;
    for (const std::string& name : names) {
      const absl::Status status = OpenFile(name, bytes);
      if (!status.ok()) Add(name, "", status);
    }
    CheckIndexFile(names.size() > 1, bytes);
    if (plan_ && problems_.empty() && bytes != plan_->weight_file_bytes) {
      Add(kPlan, "",
          absl::StrCat("weight_file_bytes is ", plan_->weight_file_bytes, ", the files have ", bytes));
    }
  }

  absl::Status OpenFile(const std::string& name, int64_t& bytes) {
    ASSIGN_OR_RETURN(MappedFile map, MappedFile::Open((root_ / name).string()));
    bytes += static_cast<int64_t>(map.bytes().size());
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Parse(std::move(map), name));
    files_.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
    for (const TensorInfo& tensor : files_.back()->header().tensors) {
      const auto [found, added] =
          tensors_.try_emplace(tensor.name, Stored{name, files_.back().get(), &tensor});
      if (!added) Add(name, tensor.name, absl::StrCat("is in ", found->second.name, " too"));
    }
    return absl::OkStatus();
  }

  void CheckIndexFile(bool expected, int64_t& bytes) {
    std::error_code error;
    if (!fs::exists(root_ / kIndex, error)) {
      if (expected) Add(kIndex, "", "is missing, although there are several weight files");
      return;
    }
    bytes += static_cast<int64_t>(fs::file_size(root_ / kIndex, error));
    const absl::StatusOr<Json> index = ReadJson(root_ / kIndex);
    if (!index.ok()) return Add(kIndex, "", index.status());
    std::map<std::string, std::string> listed;
    const Json weight_map = index->value("weight_map", Json::object());
    for (const auto& [tensor, file] : weight_map.items()) {
      if (file.is_string()) listed[tensor] = file.get<std::string>();
    }
    for (const auto& [tensor, stored] : tensors_) {
      if (!listed.contains(tensor) || listed.at(tensor) != stored.name)
        Add(kIndex, tensor, absl::StrCat("is not listed for ", stored.name));
    }
    for (const auto& [tensor, file] : listed) {
      if (!tensors_.contains(tensor)) Add(kIndex, tensor, absl::StrCat("is not in ", file));
    }
  }

  void CheckModule(const Module& module) {
    const absl::StatusOr<DeclaredWidth> declared = widths_->Of(module.name);
    const DeclaredWidth planned{module.width, static_cast<int>(plan_->group_size), module.symmetric};
    if (!declared.ok()) {
      Add(kConfig, module.name, declared.status());
    } else if (*declared != planned) {
      Add(kConfig, module.name,
          absl::StrCat("declared with ", Text(*declared), ", the plan has ", Text(planned)));
    }
    if (const auto plain = tensors_.find(module.name + ".weight"); plain != tensors_.end())
      Add(plain->second.name, plain->first, "is there although the module is quantized");
    const QuantizedShape shape{module.name, module.out, module.in, module.width, plan_->group_size};
    for (const FormatTensor& tensor : format_->tensors) {
      const std::vector<int64_t> dimensions = tensor.shape(shape);
      Check(absl::StrCat(module.name, tensor.suffix), tensor.dtype, dimensions,
            [&](absl::string_view bytes) { return CheckContent(tensor.content, bytes, dimensions, module); });
    }
  }

  std::string CheckContent(TensorContent content, absl::string_view bytes,
                           const std::vector<int64_t>& dimensions, const Module& module) const {
    switch (content) {
      case TensorContent::kCodes:
        return "";  // any bits are valid codes
      case TensorContent::kZeroPoints:
        return CheckZeros(bytes, dimensions.back(), module);
      case TensorContent::kScales:
        return CheckScales(bytes, dimensions.back());
      case TensorContent::kGroupOfInput:
        return CheckIndex(bytes, plan_->group_size);
      case TensorContent::kShape:
        return CheckShape(bytes, module);
    }
    return "";
  }

  // `content` says what is wrong with the bytes; it is asked when the shape is right.
  template <typename Content>
  void Check(const std::string& name, DType dtype, const std::vector<int64_t>& shape, Content content) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return Add(MissingFrom(), name, "is missing");
    const auto& [file, source, info] = found->second;
    used_.insert(name);
    if (info->dtype != dtype || info->shape != shape) {
      return Add(file, name,
                 absl::StrCat("is ", ShapeText(info->dtype, info->shape), ", the plan needs ",
                              ShapeText(dtype, shape)));
    }
    const std::string what = content(source->Bytes(*info));
    if (!what.empty()) Add(file, name, what);
  }
  // The file to name for a tensor that none has.
  std::string MissingFrom() const {
    return files_.size() == 1 && !tensors_.empty() ? tensors_.begin()->second.name : kIndex;
  }

  // Packed tensors that no linear of the plan owns. Scales alone may be anybody's: a source can have a
  // `weight_scale` that is carried.
  void CheckOthers() {
    for (const auto& [name, stored] : tensors_) {
      if (used_.contains(name)) continue;
      for (const FormatTensor& tensor : format_->tensors) {
        if (tensor.content != TensorContent::kScales && absl::EndsWith(name, tensor.suffix))
          Add(stored.name, name, "belongs to no linear of the plan");
      }
    }
  }

  struct Stored {
    std::string name;  // of the file
    const SafetensorsFile* file = nullptr;
    const TensorInfo* info = nullptr;
  };

  const fs::path root_;
  const WeightFormat* format_ = nullptr;
  std::optional<DeclaredWidths> widths_;
  std::optional<Plan> plan_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Stored> tensors_;
  std::set<std::string> used_;
  std::vector<WeightProblem> problems_;
};

}  // namespace

std::vector<WeightProblem> CheckWeights(const std::string& directory) {
  return WeightChecker(directory).Run();
}

}  // namespace quantmoe
