#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <parquet/arrow/reader.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/evaluate/data_rows.h"

namespace quantmoe {
namespace {

using nlohmann::json;

absl::Status Unreadable(const std::string& file, const arrow::Status& status) {
  return MakeError(absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
                   absl::StrCat(file, ": the Parquet file cannot be read: ", status.ToString()),
                   {{"file", file}, {"line", ""}, {"field", ""}});
}

json CellJson(const arrow::Array& column, int64_t row);

json ListJson(const arrow::Array& values, int64_t begin, int64_t end) {
  json list = json::array();
  for (int64_t i = begin; i < end; ++i) list.push_back(CellJson(values, i));
  return list;
}

json StructJson(const arrow::StructArray& column, int64_t row) {
  json object = json::object();
  for (int i = 0; i < column.num_fields(); ++i) {
    object[column.struct_type()->field(i)->name()] = CellJson(*column.field(i), row);
  }
  return object;
}

template <typename Array>
json ValueJson(const arrow::Array& column, int64_t row) {
  return static_cast<const Array&>(column).Value(row);
}

template <typename Array>
json TextJson(const arrow::Array& column, int64_t row) {
  return std::string(static_cast<const Array&>(column).GetView(row));
}

template <typename Array>
json ListCellJson(const arrow::Array& column, int64_t row) {
  const auto& list = static_cast<const Array&>(column);
  return ListJson(*list.values(), list.value_offset(row), list.value_offset(row + 1));
}

// Types that no benchmark has come out as bytes, which every field refuses.
json CellJson(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return nullptr;
  switch (column.type_id()) {
    case arrow::Type::STRING:
      return TextJson<arrow::StringArray>(column, row);
    case arrow::Type::LARGE_STRING:
      return TextJson<arrow::LargeStringArray>(column, row);
    case arrow::Type::BOOL:
      return ValueJson<arrow::BooleanArray>(column, row);
    case arrow::Type::INT8:
      return ValueJson<arrow::Int8Array>(column, row);
    case arrow::Type::INT16:
      return ValueJson<arrow::Int16Array>(column, row);
    case arrow::Type::INT32:
      return ValueJson<arrow::Int32Array>(column, row);
    case arrow::Type::INT64:
      return ValueJson<arrow::Int64Array>(column, row);
    case arrow::Type::UINT8:
      return ValueJson<arrow::UInt8Array>(column, row);
    case arrow::Type::DOUBLE:
      return ValueJson<arrow::DoubleArray>(column, row);
    case arrow::Type::LIST:
      return ListCellJson<arrow::ListArray>(column, row);
    case arrow::Type::LARGE_LIST:
      return ListCellJson<arrow::LargeListArray>(column, row);
    case arrow::Type::STRUCT:
      return StructJson(static_cast<const arrow::StructArray&>(column), row);
    case arrow::Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(column);
      return CellJson(*coded.dictionary(), coded.GetValueIndex(row));
    }
    default:
      return json::binary({});
  }
}

arrow::Result<std::shared_ptr<arrow::Table>> ReadTable(std::string_view bytes) {
  auto source = std::make_shared<arrow::io::BufferReader>(std::make_shared<arrow::Buffer>(bytes));
  ARROW_ASSIGN_OR_RAISE(const auto reader,
                        parquet::arrow::OpenFile(std::move(source), arrow::default_memory_pool()));
  reader->set_use_threads(false);
  ARROW_ASSIGN_OR_RAISE(const auto table, reader->ReadTable());
  ARROW_ASSIGN_OR_RAISE(auto whole, table->CombineChunks());
  ARROW_RETURN_NOT_OK(whole->ValidateFull());  // UTF-8, too
  return whole;
}

absl::Status MissingColumn(const std::string& file, const std::string& name, const arrow::Table& table) {
  return MakeError(absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
                   absl::StrCat(file, ": the Parquet file has no column '", name, "'; it has ",
                                absl::StrJoin(table.ColumnNames(), ", ")),
                   {{"file", file}, {"line", ""}, {"field", name}});
}

// One object a row. Without `all`, columns may be missing, but not every one.
absl::StatusOr<std::vector<json>> ReadObjects(std::string_view bytes, const std::vector<std::string>& columns,
                                              bool all, const std::string& file) {
  const auto table = ReadTable(bytes);
  if (!table.ok()) return Unreadable(file, table.status());
  if ((*table)->num_rows() == 0) return DataRow(json(), file, 0).Bad("the file has no items");
  std::vector<json> objects(static_cast<size_t>((*table)->num_rows()), json::object());
  bool any = false;
  for (const std::string& name : columns) {
    const auto column = (*table)->GetColumnByName(name);
    if (column == nullptr && all) return MissingColumn(file, name, **table);
    if (column == nullptr) continue;
    any = true;
    const arrow::Array& values = *column->chunk(0);
    for (size_t row = 0; row < objects.size(); ++row) {
      objects[row][name] = CellJson(values, static_cast<int64_t>(row));
    }
  }
  if (!any) return MissingColumn(file, columns.front(), **table);
  return objects;
}

}  // namespace

absl::StatusOr<std::vector<DataRow>> ReadParquetRows(std::string_view bytes,
                                                     const std::vector<std::string>& columns,
                                                     const std::string& file) {
  ASSIGN_OR_RETURN(std::vector<json> objects, ReadObjects(bytes, columns, /*all=*/true, file));
  std::vector<DataRow> rows;
  rows.reserve(objects.size());
  for (json& object : objects) {
    rows.emplace_back(std::move(object), file, static_cast<int64_t>(rows.size()) + 1);
  }
  return rows;
}

absl::StatusOr<std::vector<json>> ReadParquetObjects(std::string_view bytes,
                                                     const std::vector<std::string>& columns,
                                                     const std::string& file) {
  return ReadObjects(bytes, columns, /*all=*/false, file);
}

}  // namespace quantmoe
