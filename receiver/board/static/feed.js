// The live feed: server-sent events, read with fetch rather than EventSource, because that one hides the status (a
// token needed, too many readers) and forgets its place when it has to be made anew.
// Resumes behind the last event seen, so nothing is lost over a reconnect; never gives up.
import { address, problem } from "./api.js";

const SILENCE_MS = 45_000; // three heartbeats
const WAIT_MS = [300, 1_000, 2_000, 4_000, 8_000];

export class Feed {
  /** `onEvent(change)`, `onState({ state, why, until })`, `onGap()` when the place is lost and all must be read anew. */
  constructor({ onEvent, onState, onGap }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.onGap = onGap;
    this.last = null;
    this.failures = 0;
    this.wake = () => {};
  }

  async run() {
    for (;;) {
      try {
        await this.follow();
        this.failed("the connection ended");
      } catch (error) {
        if (error.status === 401 || error.status === 403) {
          this.onState({ state: "token", why: error.message });
          await new Promise((resume) => (this.wake = resume));
          continue;
        }
        if ((error.status === 400 || error.status === 409) && this.last) {
          this.last = null;
          this.onGap();
        }
        this.failed(error.status ? error.message : "the receiver cannot be reached", error.retryAfter);
      }
      await this.pause();
    }
  }

  /** Try now: a token was given, or the network is back. */
  resume() {
    this.failures = 0;
    this.wake();
  }

  failed(why, retryAfter) {
    const longest = WAIT_MS[Math.min(this.failures, WAIT_MS.length - 1)];
    this.failures += 1;
    // Spread, so that a restarted receiver does not meet all boards at once.
    this.waitMs = Math.max(longest * (0.7 + 0.6 * Math.random()), (retryAfter ?? 0) * 1000);
    this.onState({ state: "reconnecting", why, tries: this.failures });
  }

  pause() {
    return new Promise((resume) => {
      const timer = setTimeout(resume, this.waitMs);
      this.wake = () => {
        clearTimeout(timer);
        resume();
      };
    });
  }

  async follow() {
    const stop = new AbortController();
    let alarm = setTimeout(() => stop.abort(), SILENCE_MS);
    const heard = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    try {
      const headers = { Accept: "text/event-stream" };
      if (this.last) headers["Last-Event-ID"] = this.last;
      const answer = await fetch(address("feed"), { headers, cache: "no-store", credentials: "same-origin", signal: stop.signal });
      if (!answer.ok) throw await problem(answer);
      this.failures = 0;
      this.onState({ state: "live" });
      await this.read(answer.body.pipeThrough(new TextDecoderStream()).getReader(), heard);
    } finally {
      clearTimeout(alarm);
      stop.abort();
    }
  }

  async read(reader, heard) {
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).replace(/\r\n?/g, "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) this.take(block);
    }
  }

  take(block) {
    const data = [];
    let kind = "message";
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "id") this.last = value;
      else if (field === "event") kind = value;
      else if (field === "data") data.push(value);
    }
    if (data.length) this.onEvent(JSON.parse(data.join("\n")), kind);
  }
}
