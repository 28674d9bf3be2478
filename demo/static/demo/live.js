// Brings what changes by itself up to date, every two seconds while the page is seen. Without it the page works as well.
"use strict";

(() => {
  const PAUSE = 2000;
  const refresh = async () => {
    if (document.hidden) return;
    const response = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const now = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      if (!now || now.innerHTML === part.innerHTML) continue;
      part.innerHTML = now.innerHTML;
      part.className = now.className;
      // What a button does goes with its words.
      const form = part.closest("form");
      if (form) form.elements.is_on.value = now.closest("form").elements.is_on.value;
    }
  };
  let timer = 0;
  const go = () => refresh().catch(() => {}).finally(() => { if (timer) timer = setTimeout(go, PAUSE); });

  // Whoever reads wants to be able to stop what moves.
  const button = document.createElement("button");
  button.type = "button";
  const begin = () => {
    button.textContent = "Stop refreshing";
    timer = setTimeout(go, PAUSE);
  };
  button.addEventListener("click", () => {
    if (!timer) return begin();
    clearTimeout(timer);
    timer = 0;
    button.textContent = "Refresh by itself";
  });
  document.querySelector("#latest + .quiet").append(" ", button);
  begin();
})();
