// What is shown: by kind, outcome, family of fault and host; and what is looked for.

class Filter {
  constructor(run) {
    this.run = run;
    this.hidden = { kind: new Set(), outcome: new Set(), family: new Set(), host: new Set() };
    this.query = "";
    this.matches = null;
  }

  /** Whether a value of an aspect is shown. */
  shows(aspect, value) {
    return !this.hidden[aspect].has(value);
  }

  toggle(aspect, value) {
    const { [aspect]: hidden } = this.hidden;
    if (!hidden.delete(value)) hidden.add(value);
  }

  /** Shows that value and no other; everything, when it is the only one already. */
  only(aspect, value, all) {
    const alone = this.shows(aspect, value) && all.every((one) => one === value || !this.shows(aspect, one));
    this.hidden[aspect] = new Set(alone ? [] : all.filter((one) => one !== value));
  }

  get isClear() {
    return !this.query && Object.values(this.hidden).every((set) => set.size === 0);
  }

  clear() {
    for (const set of Object.values(this.hidden)) set.clear();
    this.search("");
  }

  /** Whether a thing is drawn. */
  draws(thing) {
    if (thing.kind === "violation") return true;
    if (!this.shows("kind", thing.kind)) return false;
    switch (thing.kind) {
      case "session":
        return this.shows("outcome", thing.outcome) && this.shows("host", thing.lane);
      case "connection":
        return (
          (!thing.session || this.shows("outcome", thing.session.outcome)) && this.shows("host", thing.lane)
        );
      case "fault":
        return this.shows("family", thing.family) && thing.hosts.some((host) => this.shows("host", host));
      default:
        return this.shows("host", thing.lane);
    }
  }

  /** Whether an event is listed. */
  lists(event) {
    if (event.kind === "violation") return true;
    if (!this.shows("kind", event.kind)) return false;
    if (this.matches && !this.matches.events.has(event)) return false;
    if (event.things.length) return event.things.some((thing) => this.draws(thing));
    return !event.hosts.length || event.hosts.some((host) => this.shows("host", host));
  }

  /** Whether a thing is among what is looked for; everything is when nothing is. */
  finds(thing) {
    return !this.matches || this.matches.things.has(thing);
  }

  /** Looks for text, in events and in the names of things. */
  search(query) {
    this.query = query;
    const words = query.trim();
    if (!words) {
      this.matches = null;
      return;
    }
    const literal = words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    // "session 9" is not session 94, and neither is "client-1" client-11.
    const pattern = new RegExp(
      `${/^\d/.test(words) ? "(?<!\\d)" : ""}${literal}${/\d$/.test(words) ? "(?![0-9a-f])" : ""}`,
      "i",
    );
    const [events, things] = [new Set(), new Set()];
    const named = (thing) => pattern.test(thing.name) || (thing.label && pattern.test(thing.label));
    for (const thing of this.run.things.values()) {
      if (!named(thing)) continue;
      things.add(thing);
      for (const event of thing.events) events.add(event);
    }
    for (const event of this.run.events) {
      if (!pattern.test(`${event.place} ${event.words}`)) continue;
      events.add(event);
      for (const thing of event.things) things.add(thing);
    }
    this.matches = { events, things };
  }

  /** What is found, as things, or as events that belong to none. */
  get found() {
    if (!this.matches) return null;
    const things = [...this.matches.things].filter((thing) => this.draws(thing));
    const events = this.run.events.filter((event) => this.matches.events.has(event) && this.lists(event));
    return { things, events };
  }
}
