// What a person does about dead letters: acknowledges them with a note, or replays them after a look at what would change.
// It keeps what is being done about which, and must not know how it is shown.
import { post } from "./api.js";

const OPENED_MAX = 20;

export class Desk {
  /** `done` is called when something has changed, `schedule` asks for a new rendering. */
  constructor(done, schedule) {
    this.done = done;
    this.schedule = schedule;
    this.works = new Map();
    this.by = "";
  }

  /** What is being done about the dead letters of `key`: { what, busy, error, preview, told }, or nothing. */
  of(key) {
    return this.works.get(key) ?? {};
  }

  set(key, work) {
    this.works.delete(key);
    if (work) this.works.set(key, work);
    if (this.works.size > OPENED_MAX) this.works.delete(this.works.keys().next().value);
    this.schedule();
  }

  /** Begin to acknowledge. */
  note(key) {
    this.set(key, { what: "acknowledge" });
  }

  async acknowledge(key, chosen, note, by) {
    this.by = by;
    await this.ask(key, "acknowledge", async () => {
      const { acknowledged } = await post("quarantine/acknowledge", { ...chosen, note, ...(by ? { by } : {}) });
      return { told: acknowledged === 1 ? "1 is acknowledged." : `${acknowledged} are acknowledged.` };
    });
    this.done();
  }

  /** What would change, without changing it. */
  preview(key, chosen, toSource = "") {
    return this.ask(key, "replay", async () => ({ toSource, preview: await post("replay", { ...chosen, ...moved(toSource), dry_run: true }) }));
  }

  async replay(key, chosen) {
    const { toSource } = this.of(key);
    await this.ask(key, "replay", async () => ({ preview: await post("replay", { ...chosen, ...moved(toSource), dry_run: false }) }));
    this.done();
  }

  async ask(key, what, question) {
    this.set(key, { ...this.of(key), what, busy: true, error: null });
    try {
      this.set(key, { what, ...(await question()) });
    } catch (error) {
      this.set(key, { ...this.of(key), busy: false, error });
    }
  }
}

const moved = (toSource) => (toSource ? { to_source: toSource } : {});
