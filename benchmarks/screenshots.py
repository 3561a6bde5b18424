"""Screenshots for README, in a headless Chromium.

python -m benchmarks.screenshots metrics/bbc/report.html docs/report.png
python -m benchmarks.screenshots http://localhost:8501 docs/playground.png (while the playground runs)
"""

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver (Debian: chromium, chromium-driver), or None."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def open_browser(width: int = 1280, height: int = 900) -> Any:
    """A headless Chromium that keeps its console's messages."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # Without a sandbox, as root in a container has none; the pages are our own.
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars",
                     "force-prefers-reduced-motion"):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def screenshot(
    source: Annotated[str, typer.Argument(help="HTML file, or address of a page.")],
    output: Annotated[Path, typer.Argument(help="PNG file to write.")],
    width: Annotated[int, typer.Option(help="Of the window, in pixels.")] = 1100,
    height: Annotated[int, typer.Option(help="Of the window, in pixels.")] = 900,
    text: Annotated[str, typer.Option(help="Text to put into the page's first text area.")] = "",
    seconds: Annotated[float, typer.Option(help="Time for the page to settle, models to load.")] = 2,
) -> None:
    """Take a picture of a page's top."""
    driver = open_browser()
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(source if "://" in source else Path(source).resolve().as_uri())
        time.sleep(seconds)
        if text:
            area = driver.find_element("css selector", "textarea")
            area.send_keys("\ue009a\ue000", text, "\ue009\ue007")  # Ctrl+A, the text, Ctrl+Enter
            time.sleep(seconds)
        output.parent.mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(output))
    finally:
        driver.quit()


if __name__ == "__main__":
    typer.run(screenshot)
