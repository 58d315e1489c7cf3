// What was fetched for the view that is looked at: asked for once, again when its version moves on, at most every
// second. What is old stays in sight while the new is on its way. It must not know what it holds.

const AGAIN_MS = 1_000;
const ENTRIES_MAX = 60;

export class Cache {
  constructor(schedule) {
    this.schedule = schedule;
    this.entries = new Map();
  }

  /** The entry of a key; `load` is called when there is none, or when `version` has moved on since. */
  get(key, load, version = 0) {
    let entry = this.entries.get(key);
    if (!entry) {
      entry = { value: undefined, error: null, version: null, loading: false, at: 0, again: () => this.load(entry) };
      this.entries.set(key, entry);
      this.forgetOldest();
    }
    entry.latest = load;
    entry.wanted = version;
    if (!entry.loading && entry.version !== version && !entry.error) this.load(entry);
    return entry;
  }

  async load(entry) {
    const wait = entry.at + AGAIN_MS - Date.now();
    entry.loading = true;
    entry.error = null;
    if (entry.value !== undefined && wait > 0) await new Promise((resume) => setTimeout(resume, wait));
    entry.version = entry.wanted;
    try {
      entry.value = await entry.latest();
    } catch (error) {
      entry.error = error;
    }
    entry.at = Date.now();
    entry.loading = false;
    this.schedule();
  }

  /** Fetch it anew the next time it is looked at. */
  renew(key) {
    const entry = this.entries.get(key);
    if (entry) entry.version = entry.error = null;
  }

  /** The same of all keys that begin with one of these words. */
  renewAll(...words) {
    for (const key of this.entries.keys()) if (words.includes(key.split(" ")[0])) this.renew(key);
  }

  clear() {
    this.entries.clear();
  }

  forgetOldest() {
    if (this.entries.size > ENTRIES_MAX) this.entries.delete(this.entries.keys().next().value);
  }
}
