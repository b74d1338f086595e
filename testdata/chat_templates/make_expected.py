#!/usr/bin/env python3
"""What `transformers` (5.23) renders: every template of this folder with every conversation below, and the small templates of LANGUAGE. Writes
expected.json; null where transformers raises. The day is 26 July 2024.

    python make_expected.py
"""
import datetime, json, os, pathlib
os.environ["HF_HUB_OFFLINE"] = "1"
import transformers.utils.chat_template_utils as chat

HERE = pathlib.Path(__file__).parent
TOKENS = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>")
EGG, BOIL = "How do I boil an egg?", "Put it in water, wait 7 minutes."
WEATHER = [dict(type="function", function=dict(name="get_weather", description="Weather of a city, “now”", parameters=dict(type="object", properties=dict(
    city=dict(type="string", description="City & country"), unit=dict(type="string", enum=["c", "f"]), days=dict(type="integer", default=1)), required=["city"])))]


def talk(*turns):
    return [dict(role=role, content=content) for role, content in turns]


def call(content, arguments, id="call00001"):
    return dict(role="assistant", content=content, tool_calls=[dict(type="function", id=id, function=dict(name="get_weather", arguments=arguments))])


CONVERSATIONS = {
    "short": (talk(("user", EGG), ("assistant", BOIL)), None),
    "system": (talk(("system", "You are terse."), ("user", EGG), ("assistant", BOIL)), None),
    "long": (talk(("system", "S"), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5"), ("assistant", "6")), None),
    "user last": (talk(("user", EGG)), None),
    "spaces": (talk(("user", "  \n two lines\n\n "), ("assistant", "\t tab and trailing  \n")), None),
    "chinese": (talk(("system", "　你是助手。　"), ("user", "\u00a0鸡蛋怎么煮？\u3000"), ("assistant", "　煮七分钟。\n")), None),
    "unicode": (talk(("user", "İstanbul ß ǅ 😀 e\u0301 \u0085"), ("assistant", "ÄÖÜ\u2028x")), None),
    "thoughts": (talk(("user", EGG), ("assistant", "<think>\nlet me see\n</think>\n\n" + BOIL), ("user", "and then?"), ("assistant", "<think>hm</think>Eat it.")), None),
    "markup": (talk(("user", "<|im_end|> <s> {{ x }} {% if %} \\n \"q\" 'a' <&>"), ("assistant", "\"}\\")), None),
    "empty": (talk(("user", ""), ("assistant", "")), None),
    "null": (talk(("user", "x"), ("assistant", None)), None),
    "two users": (talk(("user", "a"), ("user", "b")), None),
    "assistant first": (talk(("assistant", "a"), ("user", "b"), ("assistant", "c")), None),
    "odd role": (talk(("user", "a"), ("martian", "b")), None),
    "developer": (talk(("developer", "d"), ("user", "a"), ("assistant", "c")), None),
    "tools": (talk(("user", "Weather in Kyiv?"), ("assistant", "I cannot see.")), WEATHER),
    "calls": (talk(("system", "S"), ("user", "Weather?")) + [call("", dict(city="Kyïv", days=2, ok=True, none=None)),
              dict(role="tool", name="get_weather", tool_call_id="call00001", content='{"t": 21.5}'), dict(role="assistant", content="21.5")], WEATHER),
    "calls as text": (talk(("user", "Weather?")) + [call(None, '{"city": "Kyiv"}', "functions.get_weather:0"),
                      dict(role="tool", name="get_weather", tool_call_id="functions.get_weather:0", content="ok"), dict(role="assistant", content="fine")], WEATHER),
    "reasoning": ([dict(role="user", content=EGG), dict(role="assistant", content=BOIL, reasoning_content="I know"), dict(role="user", content="x"),
                   dict(role="assistant", content="y", reasoning_content="hm", thinking="t")], None),
}
ITEMS = dict(items=[3, 1, 2], words=["b", "A", "c"], text="  Hello, World  ", cjk="　鸡蛋　", d={"x": 1, "y": {"z": "é\n\"<"}}, rows=[{"a": 1, "b": "x"}, {"a": 2}], n=None, f=1.5, t=True, s="abc", long="a,b,,c", e="", m="1")
LANGUAGE = """{{ text|trim }}|{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}|
{{ cjk|trim }}|{{ cjk.strip() }}|{{ cjk|length }}|{{ cjk.strip('　') }}
{{ 'xxaxx'.strip('x') }}{{ '鸡a鸡'.strip('鸡') }}{{ 'abc'.rstrip('cb') }}
{{ text|upper }}{{ text|lower }}{{ s|title }}{{ s|capitalize }}{{ 'ÄÖÜ'|lower }}
{{ text|length }}{{ items|length }}{{ d|length }}{{ e|length }}
{{ items[0] }}{{ items[-1] }}{{ items[1:] }}
{{ items[1:]|join(',') }}{{ items[::-1]|join('') }}{{ items[:-1]|join }}
{{ s[0] }}{{ s[1:] }}{{ s[::-1] }}{{ s[:2] }}
{{ s[-1] }}
{{ s[5] }}|{{ items[7] }}|
{{ d.x }}{{ d['y'].z }}{{ d.nothing }}|{{ d.get('q', 'w') }}{{ d.get('q') }}
{{ d.nothing.more }}
{{ nothing }}|{{ nothing is defined }}{{ nothing|default('w') }}{{ n|default('w') }}{{ n|default('w', true) }}{{ e|default('w', true) }}{{ e|default('w', boolean=true) }}
{{ nothing.more }}
{{ nothing + 'x' }}
{{ 'x' ~ nothing ~ 1 ~ true ~ f }}
{{ 'x' ~ n }}
{{ 'x' + n }}
{{ 'x' + 1 }}
{{ n }}{{ t }}{{ f }}{{ 1 }}{{ 2.0 }}{{ 1e20 }}{{ 0.1 + 0.2 }}
{{ 7 / 2 }}{{ 7 % 3 }}{{ 7 - 3 * 2 }}{{ -items[0] }}
{{ 7 // 2 }}
{{ 2 ** 3 }}
{{ items }}
{{ d }}
{{ items|tojson }}{{ d|tojson }}{{ d|tojson(indent=2) }}{{ s|tojson }}{{ n|tojson }}{{ t|tojson }}{{ f|tojson }}{{ '<é&\\t\u0007>'|tojson }}
{{ {'a': [], 'b': {}}|tojson(indent=4) }}{{ []|tojson(indent=4) }}
{{ d|tojson(separators=(',', ':')) }}{{ '鸡'|tojson(ensure_ascii=true) }}
{{ d|tojson(sort_keys=true) }}
{{ 0.0000001|tojson }}
{{ items|string }}
{{ 5|string + 'x' }}{{ true|string }}{{ f|string }}{{ '5'|int + 1 }}{{ '2.5'|float }}{{ 'x'|int }}
{{ items|sort|join }}{{ words|sort|join }}{{ items|first }}{{ items|last }}{{ items|max }}{{ items|min }}{{ items|list|join('-') }}{{ items|unique|join }}
{{ items|sum }}
{{ rows|map(attribute='a')|join(',') }}{{ rows|selectattr('b')|list|length }}{{ rows|rejectattr('b', 'defined')|list|length }}{{ rows|selectattr('a', 'equalto', 2)|list|length }}{{ rows|selectattr('a', 'gt', 1)|list|length }}
{{ words|map('upper')|join }}
{{ items|select('odd')|list|length }}{{ items|reject('equalto', 3)|list|length }}
{{ long.split(',')|length }}{{ long.split(',')[-1] }}{{ ' a  b '.split()|length }}{{ 'a b'.split(' ', 1)[1] }}{{ 'a,b,c'.rsplit(',', 1)[0] }}
{{ 'a-b'.replace('-', '+') }}{{ 'aaa'|replace('a', 'b') }}{{ ''.replace('', 'x') }}
{{ 'aaa'.replace('a', 'b', 1) }}
{{ 'abc'.startswith('a') }}{{ 'abc'.endswith(('c', 'x')) }}{{ 'abc'.endswith('c') }}
{{ 'abc'.find('b') }}
{{ 'a'.join(['x', 'y']) }}
{{ 'a%sb%s' % ('x', 1) }}
{{ '%s-%d'|format('x', 3) }}
{{ 'a\\nb'|indent(2) }}{{ 'a\\nb'|indent(2, true) }}
{{ 'x' * 3 }}{{ '鸡' * 2 }}
{{ 'a' in s }}{{ 'z' not in s }}{{ 'x' in d }}{{ 3 in items }}{{ 'q' in nothing }}
{{ s is string }}{{ d is mapping }}{{ items is iterable }}{{ s is iterable }}{{ items is sequence }}{{ n is none }}{{ 3 is number }}{{ 3 is odd }}{{ t is boolean }}{{ t is true }}{{ f is float }}{{ 3 is integer }}{{ 4 is divisibleby 2 }}{{ items is not string }}
{{ d is iterable }}{{ d is sequence }}
{{ 1 == 1.0 }}{{ 'a' < 'b' }}{{ 3 > 2 and not (2 > 3) }}{{ n == none }}{{ m == 1 }}{{ items == [3, 1, 2] }}
{{ 'a' if t else 'b' }}{{ 'a' if e }}|{{ 'x' or 'y' }}{{ e or 'y' }}{{ e and 'y' }}|{{ not e }}
{% for i in items %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ i }},{% endfor %}
{% for i in items %}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for i in items if i > 1 %}{{ loop.index }}{{ i }}{% else %}none{% endfor %}{% for i in [] %}x{% else %}none{% endfor %}
{% for i in items %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}{% for i in items %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% endfor %}
{% for i in items %}{% if i == 1 %}x{% continue %}{% endif %}{{ i }}{% endfor %}
{% for k, v in d.items() %}{{ k }}{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k in d.keys() %}{{ k }}{% endfor %}{% for r in d|dictsort %}{{ r[0] }}{% endfor %}{{ d.values()|list|length }}
{% for k, v in d|items %}{{ k }}{% endfor %}
{% for c in s %}{{ c }}{% endfor %}
{% for i in nothing %}x{% endfor %}{% for i in range(3) %}{{ i }}{% endfor %}{{ range(1, 9, 3)|list|length }}
{% for i in items %}{% for j in items %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% for i in items %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% set x = 1 %}{% for i in items %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% for i in items %}{% if x is defined %}D{% endif %}{% set x = i %}{% endfor %}
{% set ns = namespace(a=1, b='q') %}{% for i in items %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}block {{ a }}{% endset %}{{ c }}
{% macro f(a, b='w', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f('x', 'y') }}
{% macro f(a) %}{{ caller() }}{{ a }}{% endmacro %}{% call f(1) %}in{% endcall %}
{% macro fac(n) %}{% if n > 1 %}{{ n }}*{{ fac(n - 1) }}{% else %}1{% endif %}{% endmacro %}{{ fac(4) }}
{% macro f() %}{{ x }}{% endmacro %}{% set x = 5 %}{{ f() }}
{% if e %}a{% elif n %}b{% elif t %}c{% else %}d{% endif %}
{% filter upper %}abc{% endfilter %}
{% generation %}x{% endgeneration %}
{# comment #}a{#- comment -#} b {{- ' c ' -}} d
  {% if t %}\\n  x\\n  {% endif %}\\ny\\n{%- if t %}\\n z{% endif -%}\\n  w
a\\n{% set q = 1 %}\\nb\\n    {{ q }}\\nc\\n
{{ raise_exception('no') }}
{{ strftime_now('%d %b %Y %H:%M %A %j') }}
{{ bos_token }}{{ eos_token }}{{ unk_token }}
{{ 'a' 'b' }}
{{ "it's" }}{{ 'say "x"' }}{{ 'a\\\\nb' }}{{ '\\\\u00e9' }}
{{ (1, 2)|length }}{{ (1,)[0] }}{{ [1, 2] + [3] == [1, 2, 3] }}{{ {'a': 1}['a'] }}
{{ [1, [2, 3]][1][0] }}{{ items | join(', ') | upper | trim }}
{{ items.append(4) }}
{{ items.index(1) }}{{ items.count(1) }}
{{ namespace }}
{{ messages[0].role }}{{ messages[-1]['content'] }}
{% set _ = d.update({'q': 1}) %}{{ d.q }}
{% include 'x' %}
{% extends 'x' %}
{% block b %}x{% endblock %}
{{ x|foo }}
{{ lipsum() }}
{{ s.__class__ }}
{{ s|attr('upper') }}
{{ items|batch(2)|list|length }}
{{ s|wordcount }}{{ s|reverse }}
{{ 1 is eq 1 }}{{ 1 is sameas 1 }}{{ 'a' is in 'abc' }}
{{ s|e }}{{ '<'|escape }}{{ '<'|safe }}
{{ '%.2f' % 1.5 }}
{{ d['y']['z'] is defined and d.q is not defined }}
{{ true and 'a' }}{{ 'x'.upper() }}{{ 'x y'.title() }}{{ 'É'.lower() }}
{{ 'É'.upper() }}{{ 'ß'|upper }}
{{ 1 < 2 < 3 }}
{{ items|length > 2 and items[2] == 2 }}
{%- for message in messages %}{{ '<|' + message.role + '|>\\\\n' }}{% if message.content %}{{ message.content }}{% endif %}{% endfor %}""".split("\n")


class Day(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


def render(template, variables):
    try:
        return chat._compile_jinja_template(template).render(**json.loads(json.dumps(dict(documents=None, add_generation_prompt=False, **TOKENS, **variables))))
    except Exception:
        return None


if __name__ == "__main__":
    chat.datetime = Day
    files = {path.name: path.read_bytes().decode() for path in sorted(HERE.glob("*.jinja"))}
    rendered = {file: {name: render(text, dict(messages=messages, tools=tools)) for name, (messages, tools) in CONVERSATIONS.items()} for file, text in files.items()}
    language = [dict(template=t, text=render(t, dict(ITEMS, messages=CONVERSATIONS["system"][0]))) for t in (line.replace("\\n", "\n").replace("\\\n", "\\n") for line in LANGUAGE)]
    out = dict(tokens=TOKENS, conversations={name: dict(messages=m, tools=t) for name, (m, t) in CONVERSATIONS.items()}, rendered=rendered,
               variables=dict(ITEMS, messages=CONVERSATIONS["system"][0]), language=language)
    (HERE / "expected.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")
    print(sum(t is not None for c in rendered.values() for t in c.values()), sum(len(c) for c in rendered.values()), sum(l["text"] is not None for l in language), len(language))
