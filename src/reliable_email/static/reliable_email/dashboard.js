// Refreshes the marked regions of a page (data-refresh, with an id) by fetching the page again. It stops in a hidden
// tab, on request, and when the login is over. A region in which somebody types or has the focus is left alone.
(() => {
  "use strict";

  const seconds = Number(document.body.dataset.refreshSeconds) || 0;
  const words = document.body.dataset; // in the reader's language
  const state = document.getElementById("refresh-state");
  const control = document.getElementById("refresh-switch");
  if (!seconds || !document.querySelector("[data-refresh]:not(#stamp)")) return;

  let timer = null;
  let isStopped = false;
  let running = null;

  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  // Tokens of forms differ each time and mean the same.
  const shape = (region) => {
    const copy = region.cloneNode(true);
    copy.querySelectorAll("input[name=csrfmiddlewaretoken]").forEach((input) => input.remove());
    copy.querySelectorAll("[data-select-all]").forEach((box) => box.setAttribute("hidden", ""));
    copy.querySelectorAll("details").forEach((details) => details.removeAttribute("open"));
    return copy.innerHTML;
  };

  const isInUse = (region) =>
    region.contains(document.activeElement) ||
    Array.from(region.querySelectorAll("input:not([type=hidden]), textarea")).some((field) =>
      field.type === "checkbox" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue,
    );

  const replace = (fresh) => {
    for (const region of document.querySelectorAll("[data-refresh]")) {
      const other = region.id ? fresh.getElementById(region.id) : null;
      if (!other || isInUse(region) || shape(region) === shape(other)) continue;
      const open = new Set(Array.from(region.querySelectorAll("details[open][id]"), (details) => details.id));
      region.replaceChildren(...document.adoptNode(other).childNodes);
      for (const name of other.getAttributeNames()) region.setAttribute(name, other.getAttribute(name));
      region.querySelectorAll("details[id]").forEach((details) => {
        if (open.has(details.id)) details.open = true;
      });
    }
  };

  const refresh = async () => {
    running = new AbortController();
    try {
      const answer = await fetch(window.location.href, {
        headers: { Accept: "text/html", "X-Refresh": "1" },
        cache: "no-store",
        redirect: "manual",
        signal: running.signal,
      });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        stop();
        say(words.loggedOut);
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      say("");
    } catch (error) {
      if (error.name === "AbortError") return;
      say(words.away);
    } finally {
      running = null;
    }
    plan();
  };

  const plan = () => {
    window.clearTimeout(timer);
    timer = isStopped || document.hidden ? null : window.setTimeout(refresh, seconds * 1000);
  };

  const stop = () => {
    isStopped = true;
    window.clearTimeout(timer);
    if (running) running.abort();
    control.textContent = words.start;
  };

  control.hidden = false;
  control.addEventListener("click", () => {
    if (!isStopped) {
      stop();
      return;
    }
    isStopped = false;
    control.textContent = words.stop;
    refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      window.clearTimeout(timer);
      if (running) running.abort();
    } else if (!isStopped) {
      refresh();
    }
  });
  plan();
})();

// One tick for all lines of the page. It is shown where this script runs; without it, each line has its own.
(() => {
  "use strict";

  const boxes = () => document.querySelectorAll("input[name=recipient]");
  const show = () => document.querySelectorAll("[data-select-all]").forEach((box) => box.removeAttribute("hidden"));

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]")) {
      boxes().forEach((box) => (box.checked = event.target.checked));
    } else if (event.target.matches("input[name=recipient]")) {
      const all = document.querySelector("[data-select-all]");
      if (all) all.checked = Array.from(boxes()).every((box) => box.checked);
    }
  });
  new MutationObserver(show).observe(document.body, { childList: true, subtree: true });
  show();
})();
