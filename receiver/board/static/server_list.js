// Lists that the receiver filters, searches and pages, for whatever the board does not hold whole. Read again every few
// seconds while they are looked at. It must not know how a list is shown.
import { get } from "./api.js";

const PAGE = 200;
const ITEMS_MAX = 2_000;
const RENEW_MS = 3_000;

export class ServerLists {
  /** `cache` asks for the items; `schedule` asks for a new rendering. */
  constructor(cache, schedule) {
    this.cache = cache;
    this.schedule = schedule;
    this.wanted = new Map();
    this.shown = new Map();
  }

  /** What is there of a list now: { items, total, error, again, more }. What is old stays while the new is on its way;
   * `items` is undefined before the first answer, `more` is null when all is there, else reads on. */
  read(list, asked, now) {
    const key = `${list} ${JSON.stringify(asked)}`;
    const most = this.wanted.get(key) ?? PAGE;
    const [name, version] = [`${key} ${most}`, Math.floor(now / RENEW_MS)];
    const entry = this.cache.get(name, () => readUpTo(list, asked, most), version);
    if (entry.error && entry.version !== version) this.cache.renew(name);
    if (entry.value) this.shown.set(list, entry.value);
    const value = entry.value ?? this.shown.get(list) ?? {};
    const more = value.next && most < ITEMS_MAX ? () => this.readOn(key, most) : null;
    return { ...value, error: entry.error, again: entry.again, more };
  }

  readOn(key, most) {
    this.wanted.set(key, most + PAGE);
    this.schedule();
  }
}

async function readUpTo(list, asked, most) {
  const first = await get(list, { ...asked, limit: PAGE, total: true });
  const items = first.items;
  let next = first.next;
  while (next && items.length < most) {
    const page = await get(list, { ...asked, limit: PAGE, cursor: next });
    items.push(...page.items);
    next = page.next;
  }
  return { items, total: first.total, next };
}
