// @ts-check
// Keyboard: roving tabindex for lists and trees, and the page's shortcuts.
import { targetOf } from "./dom.js";

/** The roving tabindex pattern: Tab reaches only the current item, arrows, Home and End move among `items()`; `onKey` gets other keys. */
export class RovingTabindex {
  /**
   * @param {HTMLElement} container
   * @param {() => HTMLElement[]} items
   * @param {(event: KeyboardEvent, item: HTMLElement) => boolean} onKey  Returns whether it has handled the key.
   */
  constructor(container, items, onKey = () => false) {
    this.items = items;
    /** @type {HTMLElement | null} */
    this.current = null;
    container.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
      const closest = targetOf(event).closest("[data-roving]");
      const at = closest instanceof HTMLElement ? this.items().indexOf(closest) : -1;
      if (at >= 0 && (this.handleKey(event.key, at) || onKey(event, this.items()[at]))) event.preventDefault();
    });
    container.addEventListener("focusin", (event) => {
      const item = targetOf(event).closest("[data-roving]");
      if (item instanceof HTMLElement && container.contains(item)) this.setCurrent(item);
    });
  }

  /**
   * @param {string} key
   * @param {number} at
   */
  handleKey(key, at) {
    const all = this.items();
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: all.length - 1 };
    const to = targets[key];
    if (to === undefined || !all[to]) return to !== undefined;
    this.setCurrent(all[to]);
    all[to].focus();
    all[to].scrollIntoView({ block: "nearest" });
    return true;
  }

  /**
   * Make this the item that Tab reaches.
   * @param {HTMLElement} item
   */
  setCurrent(item) {
    if (this.current !== item) this.current?.setAttribute("tabindex", "-1");
    this.current = item;
    item.setAttribute("tabindex", "0");
  }

  /**
   * Call after the items have changed, so that Tab reaches one of them.
   * @param {HTMLElement | null} preferred
   */
  ensureCurrent(preferred = null) {
    if (this.current?.isConnected && !preferred) return;
    const item = preferred ?? this.items()[0];
    if (item) this.setCurrent(item);
  }
}

/** @param {EventTarget | null} target */
export function isTyping(target) {
  return target instanceof Element && target.matches("input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]");
}

const SHORTCUTS = [
  ["Tab", "from part to part of the page"],
  ["↑ ↓, or j k", "in lists, timelines and trees"],
  ["Enter", "open; unfold a tool call"],
  ["w", "why did this event come to be"],
  ["s", "the state right after this event"],
  ["[ and ]", "one event back, one on"],
  ["l", "back to live"],
  ["← →", "fold and unfold in a tree; move the slider"],
  ["Esc", "close, go back"],
  ["?", "this list"],
];

/**
 * Calls `actions[key]()` for single keys that no other listener handled and that are not typed into a field.
 * @param {Record<string, () => unknown>} actions  An action that returns false has not handled the key.
 */
export function onShortcuts(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const action = actions[event.key];
    if (action && action() !== false) event.preventDefault();
  });
}

export { SHORTCUTS };
