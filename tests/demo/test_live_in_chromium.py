"""The live demo's page in Chromium: clicks, the keyboard alone, no complaint, at the width of a desk and of a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.live import Live, live
from tests.services import require

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Live]:
    """A demo without troubles and mail of its own."""
    require("chromium")
    with live(tmp_path, "--port", "0", "--calm", "--quiet") as found:
        yield found


@pytest.mark.parametrize("width", [1280, 390])
def test_a_provider_is_broken_and_mended_and_a_mail_followed(running: Live, tmp_path: Path, width: int) -> None:
    """The page brings itself up to date; nothing is wider than the window, and the console has nothing to say."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver import ActionChains, Chrome, Keys
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with _chromium(tmp_path / "profile") as browser:
        assert isinstance(browser, Chrome)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(running.site)
        # The page brings itself up to date, so what was found a moment ago may have been replaced.
        wait = WebDriverWait(browser, 20, ignored_exceptions=[WebDriverException])

        def click(selector: str) -> None:
            wait.until(lambda _: browser.find_element(By.CSS_SELECTOR, selector).click() is None)

        def body() -> str:
            return browser.find_element(By.TAG_NAME, "body").text

        # By the keyboard: to the first button, and press it.
        keys = ActionChains(browser)
        for _ in range(10):
            keys.send_keys(Keys.TAB).perform()
            if wait.until(lambda _: (browser.switch_to.active_element.text,)) == ("Take it down",):
                break
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        wait.until(lambda _: "gmail is down" in body())
        click(".letter button")
        wait.until(lambda _: "The mail to you@customer.example is in the outbox." in body())
        # Without a click: the page looks by itself.
        wait.until(lambda _: "accepted you@customer.example sendgrid" in body())
        click("button.on")
        wait.until(lambda _: "gmail is mended" in body())
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) == 0
        assert [one for one in browser.get_log("browser") if one["level"] in ("SEVERE", "WARNING")] == []


def _chromium(profile: Path):  # type: ignore[no-untyped-def]
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service("/usr/bin/chromedriver"))
