// What moves on every page: search key, list keys, live parts that change in place, being offline.
"use strict";

(() => {
  const isTyping = (element) => element && /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);

  // "/" searches; arrows or j and k walk a list, Enter opens; Escape leaves.
  const rowsOf = (table) => [...table.querySelectorAll("tbody tr")].filter((row) => row.querySelector("a[href]"));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && isTyping(document.activeElement)) {
      document.activeElement.blur();
      return;
    }
    if (isTyping(document.activeElement)) return;
    if (event.key === "/") {
      const search = document.getElementById("search");
      if (search) {
        event.preventDefault();
        search.focus();
        search.select();
      }
      return;
    }
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step) return;
    const table = document.querySelector("table[data-keys]");
    if (!table) return;
    const rows = rowsOf(table);
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    if (at < 0 && event.key.startsWith("Arrow") && document.activeElement !== document.body &&
        document.activeElement.id !== "content") return;
    const next = at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step));
    event.preventDefault();
    rows[next].querySelector("a[href]").focus();
  });

  // A live part keeps its place under the pointer: while somebody points at it or has the focus in
  // it, rows change what they say but not their order; afterwards they take their new order.
  const keyed = (root) => [...root.children].filter((child) => child.dataset.key);
  const selectorOf = (element) => {
    const [tag, name, value] = element.form
      ? ["form", "action", element.form.getAttribute("action")] : ["a", "href", element.getAttribute("href")];
    return value ? `${tag}[${name}="${CSS.escape(value)}"]${tag === "form" ? " button" : ""}` : null;
  };
  const patch = (target, text) => {
    const template = document.createElement("template");
    template.innerHTML = text;
    const fresh = template.content;
    const isHeld = target.matches(":hover") || target.contains(document.activeElement);
    const focused = target.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
    for (const list of fresh.querySelectorAll("[data-list]")) {
      const old = target.querySelector(`[data-list="${list.dataset.list}"]`);
      if (!old) continue;
      const known = new Map(keyed(old).map((child) => [child.dataset.key, child]));
      const same = isHeld && keyed(list).length === known.size &&
        keyed(list).every((child) => known.has(child.dataset.key));
      if (same) {
        const order = keyed(old).map((child) => child.dataset.key);
        const incoming = new Map(keyed(list).map((child) => [child.dataset.key, child]));
        list.append(...order.map((key) => incoming.get(key)));
      }
    }
    const before = window.scrollY;
    target.replaceChildren(...fresh.childNodes);
    if (focused) {
      const again = target.querySelector(focused);
      if (again) again.focus({ preventScroll: true });
    }
    if (window.scrollY !== before) window.scrollTo(0, before);
    window.htmx.process(target);
    target.dispatchEvent(new CustomEvent("patched", { bubbles: true }));
  };
  document.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail.target;
    if (!target || !target.hasAttribute("data-live") || event.detail.xhr.status !== 200) return;
    event.detail.shouldSwap = false;
    if (document.querySelector("details.menu[open]") || target.querySelector("details[open]")) return;
    patch(target, event.detail.xhr.responseText);
  });

  // The session ended while the page stood open: start again at the login page.
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (event.detail.xhr.status === 401) window.location.reload();
  });

  const offline = document.getElementById("offline");
  const say = (text) => {
    if (!offline) return;
    offline.textContent = text;
    offline.hidden = !text;
  };
  document.addEventListener("htmx:sendError", () => say(document.body.dataset.saidOffline));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) say("");
  });
  window.addEventListener("offline", () => say(document.body.dataset.saidOffline));
  window.addEventListener("online", () => say(""));

  // A menu closes when somebody clicks beside it.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open], details.more[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
})();
