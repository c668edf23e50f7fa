// What asks or tells on top of the page: the key, a confirmation, the shortcuts.
import { keepKey } from "./api.js";
import { el } from "./dom.js";
import { SHORTCUTS } from "./keys.js";

/** Shows a dialog until it is closed; resolves with its return value. Closed it is gone, and the focus is back. */
function shown(dialog, mayCancel = true) {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.addEventListener("cancel", (event) => { if (!mayCancel) event.preventDefault(); });
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus?.();
    done(dialog.returnValue);
  }));
}

export async function askForKey(refused) {
  const input = el("input", { id: "key-input", type: "password", autocomplete: "off", required: true, "aria-describedby": "key-hint" });
  const form = el("form", { method: "dialog" },
    el("h2", { id: "key-title" }, "API key"),
    el("p", { id: "key-hint", class: refused ? "wrong" : "soft" }, refused ? "This key is not known. " : "This server wants a key. ", "It is kept for this tab, until you close it."),
    el("label", { for: "key-input" }, "Key"), input,
    el("div", { class: "actions" }, el("button", { class: "primary" }, "Go on")));
  const dialog = el("dialog", { "aria-labelledby": "key-title" }, form);
  await shown(dialog, false);
  keepKey(input.value.trim());
  document.getElementById("forget-key").hidden = false;
}

/** Whether the person says yes. */
export async function confirmed(title, text, yes) {
  const form = el("form", { method: "dialog" },
    el("h2", { id: "confirm-title" }, title), el("p", { class: "soft" }, text),
    el("div", { class: "actions" }, el("button", { value: "no" }, "Keep it running"), el("button", { class: "danger", value: "yes" }, yes)));
  return (await shown(el("dialog", { "aria-labelledby": "confirm-title" }, form))) === "yes";
}

export function showShortcuts() {
  const list = el("dl", { class: "shortcuts" }, SHORTCUTS.map(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]));
  const form = el("form", { method: "dialog" }, el("h2", { id: "keys-title" }, "Keyboard"), list, el("div", { class: "actions" }, el("button", {}, "Close")));
  return shown(el("dialog", { "aria-labelledby": "keys-title" }, form));
}
