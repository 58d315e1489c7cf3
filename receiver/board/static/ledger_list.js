// The ledger as the receiver filters, searches and pages it, the newest first, kept up by the feed: what it brings and
// the filters let through comes on top. It must not know how anything is shown.
import { get } from "./api.js";

const PAGE = 200;
const ITEMS_MAX = 4_000;
const SEARCHED = ["name", "deployment", "tenant", "operation", "reason", "rule", "trigger", "ref"];

export class LedgerList {
  /** `schedule` asks for a new rendering. */
  constructor(schedule) {
    this.schedule = schedule;
    this.key = null;
    this.forget();
  }

  forget() {
    Object.assign(this, { items: undefined, total: null, next: null, error: null, reading: false, came: [], first: new Set() });
    this.turn = {};
  }

  /** What passes the filters `asked`: { items, total, next, error, reading, again, more }. `total` is null where the
   * receiver did not look through all; `next` says that there is more to look through. */
  read(asked) {
    const key = JSON.stringify(asked);
    if (key !== this.key) {
      this.forget();
      Object.assign(this, { key, asked });
      this.readOn();
    }
    const { items, total, next, error, reading } = this;
    const more = next && items.length < ITEMS_MAX ? () => this.readOn() : null;
    return { items, total, next, error, reading, more, again: () => this.readOn() };
  }

  /** All is read anew the next time it is looked at: the feed has lost its place. */
  renew() {
    this.key = null;
  }

  async readOn() {
    if (this.reading) return;
    const turn = this.turn;
    Object.assign(this, { reading: true, error: null });
    this.schedule();
    try {
      const page = await get("transitions", { ...this.asked, order: "newest", limit: PAGE, cursor: this.next, total: !this.items || null });
      if (turn !== this.turn) return;
      this.append(page);
    } catch (error) {
      if (turn === this.turn) this.error = error;
    }
    if (turn === this.turn) this.reading = false;
    this.schedule();
  }

  append(page) {
    if (!this.items) {
      // What the feed brought while the first page was on its way may be on the page as well.
      this.first = new Set(page.items.map((one) => one.id));
      const first = this.came.filter((one) => !this.first.has(one.id));
      this.items = [...first, ...page.items];
      this.total = page.total === null ? null : page.total + first.length;
      this.came = [];
    } else this.items = [...this.items, ...page.items];
    this.next = page.next;
    if (!this.next) this.total = this.items.length; // now all was looked through
  }

  /** One entry of the feed. */
  take(entry) {
    // The feed may tell of an entry after the list was read with it.
    if (!this.key || this.first.has(entry.id) || !passes(entry, this.asked)) return;
    if (!this.items) {
      this.came.unshift(entry);
      return;
    }
    this.items = [entry, ...this.items];
    if (this.total !== null) this.total += 1;
    if (this.items.length <= ITEMS_MAX) return;
    this.items.length = ITEMS_MAX - PAGE;
    this.next = this.items[this.items.length - 1].position;
  }
}

/** Whether an entry is among those that the receiver would give for these filters. */
function passes(entry, asked) {
  const words = (asked.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const text = words.length ? SEARCHED.map((field) => entry[field]).filter(Boolean).join(" ").toLowerCase() : "";
  const is = (key, field) => !asked[key] || entry[field] === asked[key];
  return is("entity", "entity") && is("state", "to_state") && is("source", "source") && words.every((word) => text.includes(word));
}
