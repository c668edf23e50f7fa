// The keyboard: one place in a list that Tab reaches, arrows that move it, and the shortcuts of the page.

/** Arrows, Home and End move among `items()`; only the current one is in the order of Tab. `onKey` hears the rest. */
export class Roving {
  constructor(container, items, onKey = () => false) {
    this.items = items;
    this.current = null;
    container.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
      const at = this.items().indexOf(event.target.closest("[data-roving]"));
      if (at >= 0 && (this.moved(event.key, at) || onKey(event, this.items()[at]))) event.preventDefault();
    });
    container.addEventListener("focusin", (event) => {
      const item = event.target.closest("[data-roving]");
      if (item && container.contains(item)) this.point(item);
    });
  }

  moved(key, at) {
    const all = this.items();
    const to = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: all.length - 1 }[key];
    if (to === undefined || !all[to]) return to !== undefined;
    this.point(all[to]);
    all[to].focus();
    all[to].scrollIntoView({ block: "nearest" });
    return true;
  }

  /** Make this the item that Tab reaches. */
  point(item) {
    if (this.current !== item) this.current?.setAttribute("tabindex", "-1");
    this.current = item;
    item.setAttribute("tabindex", "0");
  }

  /** After the items have changed: one of them is in the order of Tab. */
  settle(preferred = null) {
    if (this.current?.isConnected && !preferred) return;
    const item = preferred ?? this.items()[0];
    if (item) this.point(item);
  }
}

export function isTyping(target) {
  return target.matches("input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]");
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

/** Calls `actions[key]()` for single keys that nobody else took and that are not typed into a field. */
export function onShortcuts(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const action = actions[event.key];
    if (action && action() !== false) event.preventDefault();
  });
}

export { SHORTCUTS };
