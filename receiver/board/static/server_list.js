// Lists that the receiver filters, searches and pages. Read again every few seconds while they are looked at. It must not
// know how a list is shown.
import { get } from "./api.js";

const PAGE = 200;
const PAGES_MAX = 10;
const RENEW_MS = 3_000;
const KEPT_MAX = 60;

/** When a list that is looked at is read again. */
export const renewal = (now) => Math.floor(now / RENEW_MS);

export class ServerLists {
  /** `cache` asks for the items; `schedule` asks for a new rendering. */
  constructor(cache, schedule) {
    this.cache = cache;
    this.schedule = schedule;
    this.wanted = new Map();
    this.shown = new Map();
  }

  /** What is there of a list now: { items, total, next, error, again, more }. What is old stays in its place while the new is on its
   * way; `items` is undefined before the first answer, `more` reads on, and is null when all is there or enough is. */
  read(list, asked, version, place = list) {
    const key = `${list} ${JSON.stringify(asked)}`;
    const pages = this.wanted.get(key) ?? 1;
    const name = `${key} ${pages}`;
    const entry = this.cache.get(name, () => readPages(list, asked, pages), version);
    if (entry.error && entry.version !== version) this.cache.renew(name);
    if (entry.value) keep(this.shown, place, entry.value);
    const value = entry.value ?? this.shown.get(place) ?? {};
    const more = value.next && pages < PAGES_MAX ? () => this.readOn(key, pages) : null;
    return { ...value, error: entry.error, again: entry.again, more };
  }

  readOn(key, pages) {
    keep(this.wanted, key, pages + 1);
    this.schedule();
  }
}

/** The latest of many. */
function keep(map, key, value) {
  map.delete(key);
  map.set(key, value);
  if (map.size > KEPT_MAX) map.delete(map.keys().next().value);
}

async function readPages(list, asked, pages) {
  const first = await get(list, { ...asked, limit: PAGE, total: true });
  const items = first.items;
  let next = first.next;
  for (let page = 1; next && page < pages; page += 1) {
    const following = await get(list, { ...asked, limit: PAGE, cursor: next });
    items.push(...following.items);
    next = following.next;
  }
  return { items, total: next ? first.total : items.length, next };
}
