"use strict";

// The panel works without this script but does not update itself. The script fetches the part marked data-live every
// two seconds and changes the page element by element, so that focus, typed text and selections stay.
(() => {
  const EVERY_MS = 2000;
  const LIMIT_MS = 8000;
  const live = document.querySelector("[data-live]");
  const offline = document.getElementById("offline");
  let lastAnswer = new Date();

  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm;
    if (question && !window.confirm(question)) {
      event.preventDefault();
      return;
    }
    // A second click must not send a second form.
    window.setTimeout(() => event.submitter?.setAttribute("disabled", ""), 0);
  });

  function keyOf(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.dataset?.key || node.id || null : null;
  }

  function same(old, fresh) {
    return old && old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
  }

  function copyAttributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function removed(node) {
    const following = node.nextSibling;
    node.remove();
    return following;
  }

  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.nodeName === "INPUT" && old.type !== "hidden") return; // keeps what people type
    copyAttributes(old, fresh);
    morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    const keyed = new Map([...old.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
    const wanted = new Set([...fresh.childNodes].map(keyOf).filter(Boolean));
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const known = keyed.get(keyOf(child));
      const match = known && same(known, child) ? known : same(next, child) ? next : null;
      // It removes unwanted nodes before the match, because moving the match would lose its focus.
      while (match && next && next !== match && !wanted.has(keyOf(next))) next = removed(next);
      if (match === null) {
        old.insertBefore(document.importNode(child, true), next);
        continue;
      }
      if (match !== next) old.insertBefore(match, next);
      else next = next.nextSibling;
      morph(match, child);
    }
    while (next) next = removed(next);
  }

  function setOffline(is) {
    if (offline.hidden === !is) return;
    offline.hidden = !is;
    live.classList.toggle("old", is);
    document.getElementById("offline-since").textContent = lastAnswer.toLocaleTimeString();
  }

  async function refresh() {
    try {
      const answer = await fetch(live.dataset.live, { signal: AbortSignal.timeout(LIMIT_MS), cache: "no-store" });
      if (answer.status === 401) return window.location.assign("/");
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = document.createElement("template");
      fresh.innerHTML = await answer.text();
      morphChildren(live, fresh.content);
      lastAnswer = new Date();
      setOffline(false);
    } catch {
      setOffline(true);
    }
  }

  async function watch() {
    if (!document.hidden) await refresh();
    window.setTimeout(watch, EVERY_MS);
  }

  if (live) {
    window.setTimeout(watch, EVERY_MS);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) refresh();
    });
  }
})();
