// Keys for those who work through the queue. Everything works without this file.
"use strict";

const typing = (element) => ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName);
const focus = (selector) => document.querySelector(selector)?.focus();
const open = (selector) => document.querySelector(selector)?.click();

function step(by) {
  const cases = [...document.querySelectorAll("a.case")];
  if (!cases.length) return open(by > 0 ? "a[rel=next]" : "a[rel=prev]");
  const at = cases.indexOf(document.activeElement);
  const next = at < 0 ? 0 : Math.min(Math.max(at + by, 0), cases.length - 1);
  cases[next].focus();
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  f: () => focus("button.fraud"),
  l: () => focus("button.legitimate"),
  u: () => focus("button.unclear"),
  t: () => focus("button.next"),
  c: () => focus("#comment"),
  a: () => open("a.to-cases"),
  n: () => open("a[rel=next]"),
  p: () => open("a[rel=prev]"),
  q: () => open("a.home"),
  "/": () => focus("#q"),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return document.activeElement.blur();
  if (typing(event.target) || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

// The list of payments opens where the case is.
const here = document.querySelector("tr.this");
if (here) {
  const list = here.closest(".scroll");
  list.scrollTop = here.offsetTop - list.clientHeight / 3;
}

// A second click while the first is on its way sends nothing.
for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// A verdict that could not be stored yet is sent again, for as long as its page is open.
const again = document.querySelector("form[data-again]");
if (again) setTimeout(() => again.requestSubmit(), 1000 * again.dataset.again);
