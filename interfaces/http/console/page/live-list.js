// A list of the API, newest first, page by page, kept up to date by the ids that events named.
import { get } from "./api.js";
import { throttled } from "./dom.js";

const PAGE = 50, ONE_BY_ONE = 4, PAUSE_MS = 250;

export class LiveList {
  /** `path` of the list, `id` the name of its items' id; `onChange` is called when `items` has changed. */
  constructor({ path, id, params, onChange }) {
    Object.assign(this, { path, id, params, onChange });
    this.items = [];
    this.nextCursor = null;
    this.asOfPosition = 0;
    this.changed = new Map();
    this.loaded = false;
    this.stopping = new AbortController();
    this.catchUp = throttled(() => this.refresh(), PAUSE_MS);
  }

  close() { this.stopping.abort(); }

  async load(minPosition) {
    const page = await this.page({ minPosition });
    this.items = page.items;
    this.nextCursor = page.nextCursor;
    this.asOfPosition = page.asOfPosition;
    this.loaded = true;
    this.onChange();
    if (this.changed.size) this.catchUp();
  }

  async more() {
    if (!this.nextCursor) return;
    const page = await this.page({ cursor: this.nextCursor });
    const known = new Set(this.items.map((item) => item[this.id]));
    this.items = [...this.items, ...page.items.filter((item) => !known.has(item[this.id]))];
    this.nextCursor = page.nextCursor;
    this.onChange();
  }

  /** An event at this position concerns the item of this id. */
  note(id, position) {
    this.changed.set(id, position);
    if (this.loaded) this.catchUp();
  }

  async refresh() {
    const ids = [...this.changed.keys()];
    if (!ids.length || this.stopping.signal.aborted) return;
    const minPosition = Math.max(...this.changed.values());
    this.changed.clear();
    const known = new Set(this.items.map((item) => item[this.id]));
    if (ids.length <= ONE_BY_ONE && ids.every((id) => known.has(id))) {
      const fresh = await Promise.all(ids.map((id) => get(`${this.path}/${id}`, { minPosition }, this.stopping.signal)));
      this.put(fresh);
    } else {
      const page = await this.page({ minPosition });
      const missed = page.nextCursor !== null && !page.items.some((item) => known.has(item[this.id]));
      if (missed) Object.assign(this, { items: page.items, nextCursor: page.nextCursor });
      else this.put(page.items);
      const rest = ids.filter((id) => known.has(id) && !page.items.some((item) => item[this.id] === id));
      for (const id of rest.slice(0, PAGE)) this.put([await get(`${this.path}/${id}`, { minPosition }, this.stopping.signal)]);
    }
    this.onChange();
  }

  /** Known items in their places, new ones before them; those that the list's filter no longer wants go. */
  put(fresh) {
    const byId = new Map(fresh.map((item) => [item[this.id], item]));
    const old = this.items.map((item) => byId.get(item[this.id]) ?? item);
    const known = new Set(this.items.map((item) => item[this.id]));
    const added = fresh.filter((item) => !known.has(item[this.id]));
    this.items = [...added, ...old].filter((item) => !this.params.state || item.state === this.params.state);
  }

  page(more) {
    return get(this.path, { ...this.params, limit: PAGE, ...more }, this.stopping.signal);
  }
}
