// @ts-check
// Modal dialogs: the API key, a confirmation, the shortcuts.
import { storeKey } from "./api.js";
import { el } from "./dom.js";
import { SHORTCUTS } from "./keys.js";

/**
 * Shows a modal dialog; resolves with its return value when it is closed, after removing it and restoring the focus.
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<string>}
 */
function showDialog(dialog, mayCancel = true) {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.addEventListener("cancel", (event) => { if (!mayCancel) event.preventDefault(); });
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => {
    dialog.remove();
    if (before instanceof HTMLElement || before instanceof SVGElement) before.focus();
    done(dialog.returnValue);
  }));
}

/** @param {boolean} rejected */
export async function askForKey(rejected) {
  const input = el("input", { id: "key-input", type: "password", autocomplete: "off", required: true, "aria-describedby": "key-hint" });
  const form = el("form", { method: "dialog" },
    el("h2", { id: "key-title" }, "API key"),
    el("p", { id: "key-hint", class: rejected ? "wrong" : "soft" }, rejected ? "This key is not known." : "This server wants a key. One that it accepts is kept for this tab, until you close it."),
    el("label", { for: "key-input" }, "Key"), input,
    el("div", { class: "actions" }, el("button", { class: "primary" }, "Go on")));
  const dialog = el("dialog", { "aria-labelledby": "key-title" }, form);
  await showDialog(dialog, false);
  storeKey(input.value.trim());
}

/**
 * Whether the user confirms.
 * @param {string} title
 * @param {string} text
 * @param {string} yes
 */
export async function askToConfirm(title, text, yes) {
  const form = el("form", { method: "dialog" },
    el("h2", { id: "confirm-title" }, title), el("p", { class: "soft" }, text),
    el("div", { class: "actions" }, el("button", { value: "no" }, "Keep it running"), el("button", { class: "danger", value: "yes" }, yes)));
  return (await showDialog(el("dialog", { "aria-labelledby": "confirm-title" }, form))) === "yes";
}

export function showShortcuts() {
  const list = el("dl", { class: "shortcuts" }, SHORTCUTS.map(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]));
  const form = el("form", { method: "dialog" }, el("h2", { id: "keys-title" }, "Keyboard"), list, el("div", { class: "actions" }, el("button", {}, "Close")));
  return showDialog(el("dialog", { "aria-labelledby": "keys-title" }, form));
}
