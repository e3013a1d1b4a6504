"""Rules of the page's files: no build step, nothing of others, nothing that is read as markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import serving.service

FOLDER = Path(serving.service.__file__).parent / "page"
FILES = sorted(FOLDER.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def test_files_are_short_and_say_what_they_are():
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300, path.name
        if path.suffix in (".js", ".css"):
            assert lines[0].startswith(("// ", "/* ")), path.name


def test_nothing_is_read_as_markup_or_as_code():
    refused = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(.(on|style)"
    )
    assert {path.name: refused.findall(path.read_text(encoding="utf-8")) for path in SCRIPTS} == {
        path.name: [] for path in SCRIPTS
    }


def test_every_address_is_one_of_its_own_files_or_of_the_service():
    text = {path.name: path.read_text(encoding="utf-8") for path in FILES}
    namespace = "http://www.w3.org/2000/svg"
    assert {name for name, one in text.items() if re.search(r"https?://|url\(", one.replace(namespace, ""))} == set()
    imported = {name for path in SCRIPTS for name in re.findall(r'from "\./([^"]+)"', text[path.name])}
    linked = set(re.findall(r'(?:href|src)="page/([^"]+)"', text["index.html"]))
    assert imported | linked | {"index.html"} == set(text)


def test_the_page_has_no_script_or_style_of_its_own():
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            given = dict(attrs)
            if tag == "style" or (tag == "script" and "src" not in given):
                found.append(tag)
            found.extend(name for name in given if name == "style" or name.startswith("on"))

    Reader().feed((FOLDER / "index.html").read_text(encoding="utf-8"))
    assert found == []


def test_both_languages_say_the_same_things():
    keys = {}
    for language in ("en", "zh"):
        text = (FOLDER / f"words_{language}.js").read_text(encoding="utf-8")
        body = text.split(f"export const {language} = {{")[1]
        keys[language] = re.findall(r"^  (\w+)[:,]", body, re.MULTILINE)
    assert keys["en"] == keys["zh"]
    said = "\n".join(path.read_text(encoding="utf-8") for path in [*SCRIPTS, FOLDER / "index.html"])
    asked = set(re.findall(r'\bsay\("(\w+)"', said)) | set(re.findall(r'data-t="(\w+)"', said))
    assert asked - set(keys["en"]) == set()
