"""The playground shows every trained variant's answer, survives bad input, and runs nothing that a user pasted."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import srsly

from benchmarks.screenshots import find_browser, open_browser
from scripts.deploy import playground, playground_app
from tests.conftest import ROOT, message
from tests.deploy.test_answers import train_pipeline

needs_streamlit = pytest.mark.skipif(
    not playground.is_installed("streamlit"), reason="Streamlit is not installed (requirements-play.txt)"
)
EVIL = "goal <img src=x onerror=\"document.title='run'\"> <script>document.title='run'</script> match"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with two trained variants that disagree on everything, a broken one, and one not trained."""
    folder = tmp_path_factory.mktemp("play")
    names = ("right", "wrong", "broken", "absent")
    srsly.write_yaml(folder / "project.yml", {"commands": [{"name": f"evaluate-{name}"} for name in names]})
    texts = {"sport": ["goal match"], "<b>money</b>": ["bank profit"]}
    train_pipeline(folder / "training" / "right" / "model-best", texts)
    train_pipeline(
        folder / "training" / "wrong" / "model-best", dict(zip(texts, reversed(texts.values()), strict=True))
    )
    (folder / "training" / "broken" / "model-best").mkdir(parents=True)
    (folder / "training" / "broken" / "model-best" / "meta.json").write_text("{")
    return folder


def test_without_streamlit(run, monkeypatch, tmp_path):
    monkeypatch.setattr(playground, "is_installed", lambda package: False)
    assert "pip install -r requirements-play.txt" in message(run("playground", "training"))


def test_without_a_trained_variant(run, monkeypatch, tmp_path):
    monkeypatch.setattr(playground, "is_installed", lambda package: True)
    assert "training: no trained variant" in message(run("playground", "training"))


def test_streamlit_is_told_where_to_listen(run, monkeypatch, project):
    arguments = []
    monkeypatch.setattr(playground, "is_installed", lambda package: True)
    monkeypatch.setattr(playground, "start_streamlit", lambda: arguments.extend(sys.argv))
    assert run("playground", project / "training", "--port", "9000").returncode == 0
    assert {"--server.address=localhost", "--server.port=9000", "--browser.gatherUsageStats=false"} <= set(arguments)
    assert arguments[-1] == str(project / "training")


@pytest.fixture
def app(project):
    """The page, run once, in this process."""
    testing = pytest.importorskip("streamlit.testing.v1", reason="Streamlit is not installed (requirements-play.txt)")

    def page(folder):
        from pathlib import Path

        from scripts.deploy.playground_app import main

        main(Path(folder) / "training", Path(folder))

    return testing.AppTest.from_function(page, args=(str(project),), default_timeout=120).run()


def shown(app):
    """All text on the page; HTML as it is."""
    kinds = (app.text, app.caption, app.warning, app.markdown)
    return " ".join([item.value for kind in kinds for item in kind] + [item.proto.body for item in app.get("html")])


def test_every_variant_answers(app):
    app.text_area[0].set_value("goal match").run()
    page = shown(app)
    assert not app.exception
    assert "<h2>right</h2>" in page and "<h2>wrong</h2>" in page and "<h2>broken</h2>" not in page
    assert "The variants disagree. sport: right; <b>money</b>: wrong" in page
    assert '<div class="label odd">&lt;b&gt;money&lt;/b&gt;</div>' in page
    assert "Not trained yet, so not here: absent" in page
    assert "broken/model-best: no pipeline that can be loaded" in page
    assert " ms · " in page and " MB</div>" in page
    assert '<span style="background: rgba(11, 131, 136, 0.60)"' in page


def test_words_can_be_switched_off(app):
    assert 'class="words"' in shown(app)
    app.toggle[0].set_value(False).run()
    assert 'class="words"' not in shown(app) and "<h2>right</h2>" in shown(app)


@pytest.mark.parametrize(
    "text", [EVIL, "`code` [link](http://example.com) ![](http://example.com/x.png)", "\x00\u202e\U0001f600"]
)
def test_pasted_markup_stays_text(app, text):
    app.text_area[0].set_value(text).run()
    assert not app.exception
    page = shown(app)
    assert "<script>" not in page and "<img" not in page
    assert not [item for item in app.markdown if "example.com" in item.value]


@pytest.mark.parametrize(
    ("text", "expected"), [("x " * 50_000, "100,000 characters; at most 20,000"), ("  ", "is empty")]
)
def test_texts_that_are_refused(app, text, expected):
    app.text_area[0].set_value(text).run()
    assert not app.exception and expected in shown(app) and "<h2>" not in shown(app)


def test_a_file_is_labelled_once(app, monkeypatch):
    calls = []
    label = playground_app.label_upload
    monkeypatch.setattr(playground_app, "label_upload", lambda *args: calls.append(args[1]) or label(*args))
    app.file_uploader[0].upload("a.csv", b"text\ngoal\nbank\n").run()
    app.text_area[0].set_value("another text").run()
    assert "Labelled by right. The first 2" in shown(app) and calls == ["a.csv"]
    app.file_uploader[0].upload("b.csv", b"text\ngoal\n").run()
    assert "The first 1" in shown(app) and calls == ["a.csv", "b.csv"]


def test_files_are_labelled_or_refused(app):
    def upload(name, data):
        app.file_uploader[0].upload(name, data).run()
        assert not app.exception
        return shown(app)

    assert "Labelled by right. The first 3" in upload("a.csv", b"text\ngoal\nbank\n<b>x</b>\n")
    assert list(app.dataframe[0].value["label"])[:2] == ["sport", "<b>money</b>"]
    assert "a.jsonl, line 1:" in upload("a.jsonl", b'{"text":')
    assert "a.csv" in upload("a.csv", b"text\n\xff\xfe\xfa") and not app.dataframe


@contextlib.contextmanager
def serve(folder):
    """The playground of a project on a free port of localhost; gives its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "scripts.deploy.playground", str(folder / "training"), "--port", str(port)]
    # stdout goes nowhere: nobody empties a pipe
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(600):
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health") as answer,
            ):
                if answer.status == 200:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://localhost:{port}"
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl+C does
        assert process.wait(60) == 0


def wait_for(check, seconds=60):
    """Repeat a check until it gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return result


@needs_streamlit
@pytest.mark.browser
@pytest.mark.skipif(find_browser() is None, reason="no Chromium with its driver here")
def test_in_a_browser(project, tmp_path):
    driver = open_browser()
    try:
        with serve(project) as address:
            driver.get(address)
            body = lambda: driver.find_element("css selector", "body").text  # noqa: E731
            wait_for(lambda: "wrong" in body() and "MB" in body())
            area = wait_for(lambda: driver.find_elements("css selector", "textarea"))[0]
            area.send_keys("\ue009a\ue000", EVIL, "\ue009\ue007")  # Ctrl+A, the text, Ctrl+Enter
            # In one go: an element may be drawn anew between finding it and reading it.
            texts = "return Array.from(document.querySelectorAll('.words'), element => element.innerText)"
            words = lambda: driver.execute_script(texts)  # noqa: E731
            wait_for(lambda: any("onerror" in text for text in words()))
            assert words()[0] == EVIL
            assert "The variants disagree" in body()
            assert not driver.find_elements("css selector", ".words img, .words script")
            assert driver.title == "Playground"
            assert [heading.text for heading in driver.find_elements("css selector", "h1")] == [
                "What does each variant say?"
            ]
            look = "const s = getComputedStyle(document.querySelector('.stApp')); return s.backgroundColor + s.color"
            light = driver.execute_script(look)
            dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
            wait_for(lambda: driver.execute_script(look) != light)
            order = driver.find_elements("css selector", "textarea, [data-testid=stCaptionContainer]")
            assert order[0].tag_name == "textarea" and "Not trained yet" in order[-1].text
            driver.find_elements("css selector", "[role=tab]")[1].click()
            (tmp_path / "texts.csv").write_text("text\ngoal\nbank\n")
            driver.find_element("css selector", "input[type=file]").send_keys(str(tmp_path / "texts.csv"))
            wait_for(lambda: "Labelled by right. The first 2" in body() and "Download" in body())
            severe = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
            assert severe == []
    finally:
        driver.quit()
