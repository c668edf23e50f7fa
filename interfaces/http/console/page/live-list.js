// @ts-check
// A paginated list of the API, newest first. Items that events name are read again.
import { get } from "./api.js";
import { throttled } from "./dom.js";

const PAGE = 50, MAX_SINGLE_READS = 4, PAUSE_MS = 250;

/** @import { Params } from "./api.js" */
/**
 * @template Item
 * @typedef {{ items: Item[], nextCursor: string | null, asOfPosition: number }} Page
 */
/**
 * @template Item
 * @typedef {object} LiveListOptions
 * @property {string} path  Of the list; an item's path is `path/id`.
 * @property {(item: Item) => string} idOf
 * @property {{ state?: string }} params
 * @property {() => void} onChange  Called when `items` has changed.
 */

/** @template {{ state: string }} Item */
export class LiveList {
  /** @param {LiveListOptions<Item>} options */
  constructor({ path, idOf, params, onChange }) {
    this.path = path;
    this.idOf = idOf;
    this.params = params;
    this.onChange = onChange;
    /** @type {Item[]} */
    this.items = [];
    /** @type {string | null} */
    this.nextCursor = null;
    this.asOfPosition = 0;
    /** @type {Map<string, number>} */
    this.changed = new Map();
    this.loaded = false;
    this.stopping = new AbortController();
    this.catchUp = throttled(() => this.refresh(), PAUSE_MS);
  }

  close() { this.stopping.abort(); }

  /** @param {number | undefined} minPosition */
  async load(minPosition) {
    const page = await this.fetchPage({ minPosition });
    this.items = page.items;
    this.nextCursor = page.nextCursor;
    this.asOfPosition = page.asOfPosition;
    this.loaded = true;
    this.onChange();
    if (this.changed.size) this.catchUp();
  }

  async loadMore() {
    if (!this.nextCursor) return;
    const page = await this.fetchPage({ cursor: this.nextCursor });
    const known = this.ids();
    this.items = [...this.items, ...page.items.filter((item) => !known.has(this.idOf(item)))];
    this.nextCursor = page.nextCursor;
    this.onChange();
  }

  ids() { return new Set(this.items.map(this.idOf)); }

  /**
   * The item of this id has changed by the event at this position.
   * @param {string} id
   * @param {number} position
   */
  markChanged(id, position) {
    this.changed.set(id, position);
    if (this.loaded) this.catchUp();
  }

  async refresh() {
    const ids = [...this.changed.keys()];
    if (!ids.length || this.stopping.signal.aborted) return;
    const minPosition = Math.max(...this.changed.values());
    this.changed.clear();
    const known = this.ids();
    if (ids.length <= MAX_SINGLE_READS && ids.every((id) => known.has(id))) {
      this.merge(await Promise.all(ids.map((id) => this.fetchItem(id, minPosition))));
    } else {
      const page = await this.fetchPage({ minPosition });
      const missed = page.nextCursor !== null && !page.items.some((item) => known.has(this.idOf(item)));
      if (missed) Object.assign(this, { items: page.items, nextCursor: page.nextCursor });
      else this.merge(page.items);
      const rest = ids.filter((id) => known.has(id) && !page.items.some((item) => this.idOf(item) === id));
      for (const id of rest.slice(0, PAGE)) this.merge([await this.fetchItem(id, minPosition)]);
    }
    this.onChange();
  }

  /**
   * Replace known items in place, put new ones first, and drop those that no longer match the state filter.
   * @param {Item[]} fresh
   */
  merge(fresh) {
    const byId = new Map(fresh.map((item) => [this.idOf(item), item]));
    const old = this.items.map((item) => byId.get(this.idOf(item)) ?? item);
    const known = this.ids();
    const added = fresh.filter((item) => !known.has(this.idOf(item)));
    this.items = [...added, ...old].filter((item) => !this.params.state || item.state === this.params.state);
  }

  /**
   * @param {string} id
   * @param {number} minPosition
   * @returns {Promise<Item>}
   */
  fetchItem(id, minPosition) { return get(`${this.path}/${id}`, { minPosition }, this.stopping.signal); }

  /**
   * @param {Params} more
   * @returns {Promise<Page<Item>>}
   */
  fetchPage(more) {
    return get(this.path, { ...this.params, limit: PAGE, ...more }, this.stopping.signal);
  }
}
