"""The report page in a real browser: what is clicked changes, and the console stays silent."""

import copy
import time

import pytest
import srsly

from benchmarks.screenshots import find_browser, open_browser
from tests.report.test_page import page, variant

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium with its driver here"),
]
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait


@pytest.fixture(scope="module")
def browser():
    driver = open_browser()
    yield driver
    driver.quit()


@pytest.fixture
def report(browser, tmp_path):
    """The browser with a report of three variants and a peer: `small` has to give way to `fast` on speed."""
    variants = [
        variant("small", 0.80, 1e6, 900.0),
        variant("good", 0.90, 5e6, 2000.0, 0.02),
        variant("fast", 0.85, 9e6, 9000.0, 0.02),
    ]
    peer = copy.deepcopy(variants[0]) | {"variant": "peer", "size": {"pipeline_bytes": 2_000_000}}
    path = tmp_path / "report.html"
    path.write_text(page(*variants, peers=[peer]), encoding="utf-8")
    browser.get_log("browser")
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


# As on a finished run of everything: many points close together
CROWD = [
    ("linear", 0.832, 0.4), ("compact-small", 0.893, 0.9), ("compact-domain", 0.885, 1.7), ("pruned", 0.858, 2.8),
    ("compact-pretrained", 0.893, 3.8), ("compact", 0.910, 4.2), ("compact-distilled", 0.914, 4.5),
    ("floret", 0.831, 4.9), ("bow", 0.760, 5.3), ("cnn", 0.738, 5.45), ("pretrain-chars", 0.749, 5.45),
    ("pretrain-vectors", 0.814, 5.5), ("vectors", 0.854, 5.8), ("distilled", 0.876, 5.8), ("ensemble", 0.710, 7.0),
    ("transformer-trim", 0.907, 28.0), ("transformer-half", 0.900, 36.0), ("transformer", 0.912, 46.5),
]  # fmt: skip


@pytest.fixture
def crowded(browser, tmp_path):
    """The browser with a report of many variants, and a coverage table that is wider than a phone."""
    variants = [variant(name, f1, 1e6 * size, 60_000 / size) for name, f1, size in CROWD]
    table = {"keys": 29_508, "rows": 29_508, "bytes": 12e6}
    table["coverage"] = {name: {"tokens": 0.987, "types": 0.9} for name in ("train", "dev", "test", "raw text")}
    (tmp_path / "pruned").mkdir()
    srsly.write_json(
        tmp_path / "pruned" / "coverage.json",
        {"before": table, "after": table, "remapped": {"keys": 25_000, "mean_similarity": 0.6}},
    )
    path = tmp_path / "report.html"
    path.write_text(page(*variants, runs=tmp_path), encoding="utf-8")
    browser.get(path.as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def text(browser, selector):
    return find(browser, selector)[0].text


def first_column(browser):
    return [cell.text.removesuffix(" ★") for cell in find(browser, "#variants tbody th")]


def places(browser):
    """Horizontal place of each point's circle."""
    script = "return document.querySelector('[aria-label^=\"' + arguments[0] + ':\"]').style.transform"
    return {name: browser.execute_script(script, name) for name in ("small", "good", "fast", "peer")}


def front(browser):
    return {element.get_attribute("aria-label").split(":")[0] for element in find(browser, ".point.best")}


def test_axis_switch_moves_the_points(report):
    assert front(report) == {"small", "good"}
    before = places(report)
    report.find_element("xpath", "//label[contains(., 'docs/s')]").click()
    after = places(report)
    assert all(before[name] != after[name] for name in before)
    assert front(report) == {"good", "fast"}
    assert "documents per second →" in text(report, "#chart .title")


def test_chooser(report):
    size, speed = find(report, "#max-size")[0], find(report, "#min-speed")[0]
    assert text(report, "#choice").startswith("good\n")
    size.send_keys("3")
    assert text(report, "#choice").startswith("small\nmacro-F1 0.800, 1.0 MB, 900 docs/s")
    assert {row.text.split()[0] for row in find(report, "#variants tr.out")} == {"good", "fast"}
    speed.send_keys("5000")
    assert text(report, "#choice").startswith(
        "No variant fits. The smallest, small, has 1.0 MB; the fastest, fast, gives"
    )
    size.clear()
    size.send_keys("-1")
    assert text(report, "#choice").startswith("fast\n")
    find(report, "#chooser button")[0].click()
    # The page chooses again after the browser has emptied the fields: a little later than the click.
    WebDriverWait(report, 10).until(lambda _: text(report, "#choice").startswith("good\n"))


def test_every_column_sorts_both_ways(report):
    for index, header in enumerate(find(report, "#variants thead button")):
        orders = []
        for _ in range(2):
            header.click()
            cells = find(report, f"#variants tbody tr > :nth-child({index + 1})")
            orders.append([cell.get_attribute("data-v") for cell in cells])
            assert header.find_element("xpath", "..").get_attribute("aria-sort") in ("ascending", "descending")
        values = orders[0] if index == 0 else [float(value) for value in orders[0]]
        assert sorted(values) == values or sorted(values, reverse=True) == values
        assert index == 0 or sorted(orders[0]) == sorted(orders[1])


def test_keyboard_alone(report):
    point = find(report, ".point[aria-label^=fast]")[0]
    report.execute_script("arguments[0].focus()", point)
    assert "9,000 docs/s" in text(report, ".tip")
    point.send_keys("\ue007")  # Enter
    assert find(report, "details.variant[open] .name")[-1].text == "fast"
    assert "fast" in report.switch_to.active_element.text


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_and_follows_the_colour_scheme(report, width, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    report.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    report.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert report.execute_script("return document.documentElement.scrollWidth") <= width
        paper, ink = report.execute_script(
            "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        )
        brightness = [sum(int(part) for part in color[4:-1].split(",")) for color in (paper, ink)]
        assert (brightness[0] > brightness[1]) == (scheme == "light")
    finally:
        report.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


NAMES = """
const box = (element) => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const shown = (element) => element.getBoundingClientRect().height;
const all = (selector) => [...document.querySelectorAll(`#chart ${selector}`)].filter(shown);
const frame = box(document.querySelector("#chart svg"));
return {frame, names: all(".point text").map(box), others: all(".point circle, .point path:first-child").map(box)};
"""
SMALL = """
return [...document.querySelectorAll("a, button, summary, input")].map((e) => [e.outerHTML, e.getBoundingClientRect()])
  .filter(([, r]) => r.height && (r.height < 24 || r.width < 24)).map(([html]) => html);
"""


@pytest.mark.parametrize(("width", "least"), [(390, 5), (1280, 15)])
def test_a_crowd_is_legible(crowded, width, least):
    """Names cover neither each other, points, bars nor the axis; all fits the screen; fingers hit the links."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    crowded.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert crowded.execute_script("return document.documentElement.scrollWidth") <= width
    assert crowded.execute_script(SMALL) == []
    for choice in find(crowded, "#axes label"):
        crowded.execute_script("arguments[0].click()", choice)
        time.sleep(0.6)  # until the points have moved
        drawn = crowded.execute_script(NAMES)
        names, (left, top, right, bottom) = drawn["names"], drawn["frame"]
        assert len(names) >= least
        for i, name in enumerate(names):
            # Two pixels of a text's box are no ink
            inner = [name[0] + 2, name[1] + 2, name[2] - 2, name[3] - 2]
            assert inner[0] > left + 44 and inner[2] <= right and inner[1] >= top and inner[3] < bottom - 48
            for other in [*names[:i], *names[i + 1 :], *drawn["others"]]:
                apart = inner[2] < other[0] or inner[0] > other[2] or inner[3] < other[1] or inner[1] > other[3]
                assert apart, f"{choice.text}: {name} and {other}"


def test_printing_opens_every_variant(report):
    assert len(find(report, "details.variant[open]")) == 1
    report.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert len(find(report, "details.variant[open]")) == 3
    report.execute_script("dispatchEvent(new Event('afterprint'))")
    assert len(find(report, "details.variant[open]")) == 1


def test_the_chart_numbers_are_those_of_the_table(report):
    label = find(report, ".point[aria-label^=good]")[0].get_attribute("aria-label")
    row = find(report, "#variants tr[data-id=v1]")[0].text
    assert "macro-F1 0.900 (0.880 to 0.920), 5.0 MB, 2,000 docs/s" in label
    assert all(number in row for number in ("0.900", "0.880–0.920", "5.0", "2,000"))
