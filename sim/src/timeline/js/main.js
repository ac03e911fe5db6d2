// The page: what is looked at, and what is painted when that changes.

class App {
  constructor(run) {
    this.run = run;
    this.filter = new Filter(run);
    const margin = run.end * 0.01;
    this.whole = { from: -margin, to: run.end + margin };
    /** The shortest window. */
    this.least = 0.005;
    this.view = { ...this.whole };
    this.selected = null;
    this.hovered = null;
    this.cursor = null;
    this.marked = null;
    this.colours = colours();
    this.layout = { lanes: [], height: 0, sizes: ROOMY };
    const part = (id) => document.getElementById(id);
    this.panel = new Panel(this, part("panel"), part("tip"));
    paintHead(this, part("head"));
    paintVerdict(this, part("verdict"));
    this.bar = new Bar(this, part("bar"));
    this.overview = new Overview(this, part("overview"));
    this.chart = new Chart(this, part("chart"), part("lanes"), part("room"));
    this.list = new List(this, part("list"));
    takeHands(this);
    addEventListener("resize", () => this.resize());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = colours();
      this.change();
    });
    this.resize();
    this.giveSpare();
    if (run.violations.length) this.showViolation(run.violations[0]);
  }

  /** Paints everything, once, soon. */
  change() {
    this.painting ??= requestAnimationFrame(() => {
      this.painting = null;
      this.chart.paint();
      this.overview.paint();
      this.bar.paint();
      this.panel.paint();
      const { from, to } = this.view;
      const listed = [from, to, this.selected, this.filtered].join();
      if (this.listed !== listed || this.selected !== this.listedFor) {
        this.listed = listed;
        this.listedFor = this.selected;
        this.list.paint();
      }
    });
  }

  resize() {
    this.overview.size();
    this.layOut();
    this.listed = null;
    this.change();
  }

  /** What the lanes leave free is for the list. */
  giveSpare() {
    const { clientHeight } = this.chart.scroller;
    const spare = clientHeight - FRAME.ruler - this.layout.height - 6;
    const list = document.getElementById("list");
    if (spare < 20) return;
    list.style.height = `${list.offsetHeight + spare}px`;
    this.resize();
  }

  layOut() {
    this.layout = layOut(this.run, this.filter, this.chart.scroller.clientHeight - FRAME.ruler - 4);
    this.chart.size();
  }

  /** Looks at another window, within bounds. */
  look(from, to) {
    const { whole, least } = this;
    const span = Math.min(Math.max(to - from, least), whole.to - whole.from);
    const middle = (from + to) / 2;
    const start = Math.min(Math.max(middle - span / 2, whole.from), whole.to - span);
    this.view = { from: start, to: start + span };
    this.change();
  }

  zoom(factor, around = (this.view.from + this.view.to) / 2) {
    const { from, to } = this.view;
    const span = Math.min(Math.max((to - from) * factor, this.least), this.whole.to - this.whole.from);
    const share = (around - from) / (to - from);
    this.look(around - span * share, around + span * (1 - share));
  }

  /** Moves on by a share of the window. */
  pan(share) {
    const { from, to } = this.view;
    this.look(from + (to - from) * share, to + (to - from) * share);
  }

  fit() {
    this.look(this.whole.from, this.whole.to);
  }

  goTo(at) {
    const half = (this.view.to - this.view.from) / 2;
    this.look(at - half, at + half);
  }

  /** Looks at a thing and some time around it. */
  show(thing) {
    const span = Math.max(thing.to - thing.from, 0.05);
    this.look(thing.from - span * 0.6, thing.to + span * 0.6);
    this.select(thing);
  }

  /** Selects a thing; `bring` makes sure that it can be seen. */
  select(thing, bring = false) {
    this.selected = thing;
    this.panel.showTip(null);
    if (thing && bring) this.bring(thing);
    this.change();
  }

  bring(thing) {
    if (thing.from !== undefined) {
      const { from, to } = this.view;
      const span = to - from;
      if (thing.from > to || thing.to < from) this.look(thing.from - span * 0.3, thing.from + span * 0.7);
    }
    this.bringLane(thing);
  }

  bringLane(thing) {
    const lane = this.layout.lanes.find(({ host }) => host.name === (thing.lane ?? thing.name));
    const { scroller } = this.chart;
    const room = scroller.clientHeight - FRAME.ruler;
    if (!lane) return;
    if (lane.top < scroller.scrollTop) scroller.scrollTop = lane.top - 10;
    else if (lane.top + lane.height > scroller.scrollTop + room)
      scroller.scrollTop = lane.top + lane.height - room + 10;
  }

  /** A violation, with what it speaks of and some time before it. */
  showViolation(violation) {
    const { from: at, about } = violation;
    const { end } = this.run;
    let from = at - Math.max(end * 0.2, 12);
    if (about.length) {
      // Since that of which it speaks began, and a little before.
      const start = Math.min(...about.map((thing) => thing.from));
      from = start - Math.min(Math.max(at - start, 3), 8);
    } else {
      // Since what was in force began, hosts were not up, all was healed, if that is not too long ago.
      const around = [...inForce(this.run, at), ...notUp(this.run, at)].map((thing) => thing.from);
      const healed = this.run.data.heal_ms / 1000;
      if (healed < at) around.push(healed);
      from = Math.min(
        from,
        ...around.filter((start) => start > at - end * 0.5).map((start) => start - end * 0.03),
      );
    }
    this.look(from, at + (at - from) * 0.12);
    this.select(violation);
    this.bringLane(violation.about[0] ?? violation);
  }

  nextViolation() {
    const { violations } = this.run;
    const next = violations[(violations.indexOf(this.selected) + 1) % violations.length];
    if (next) this.showViolation(next);
  }

  /** The session that broke after the selected one, or in the window; after the last comes the first. */
  nextBroken(way) {
    const broken = [...this.run.sessions.values()]
      .filter((session) => session.ill && this.filter.draws(session))
      .sort((one, other) => one.to - other.to);
    const now = this.selected?.kind === "session" ? broken.indexOf(this.selected) : -1;
    const near = Math.max(
      broken.findIndex((session) => session.to >= this.view.from),
      0,
    );
    const next = now >= 0 ? (now + way + broken.length) % broken.length : near;
    if (broken[next]) this.select(broken[next], true);
  }

  point(thing) {
    if (thing === this.hovered) return;
    this.hovered = thing;
    this.change();
  }

  mark(at) {
    if (at === this.cursor) return;
    this.cursor = at;
    this.change();
  }

  isLooked(thing) {
    return thing === this.selected || thing === this.hovered;
  }

  /** What belongs to a thing and is outlined with it. */
  related(thing) {
    switch (thing.kind) {
      case "session":
        return thing.tries.map(({ connection }) => connection);
      case "connection":
        return thing.session ? [thing.session] : [];
      case "violation":
        return [...inForce(this.run, thing.from), ...thing.about.flatMap((about) => this.related(about))];
      default:
        return [];
    }
  }

  /** The lines between a session and the connections that saw it. */
  links(thing) {
    if (thing.kind === "violation") return thing.about.flatMap((about) => this.links(about));
    const session = thing.kind === "session" ? thing : thing.kind === "connection" ? thing.session : null;
    if (!session) return [];
    const { greeted } = session;
    const links = session.tries
      .filter(({ connection }) => connection !== greeted?.connection)
      .map(({ at, connection }) => ({ session, connection, at, final: false }));
    if (greeted?.connection)
      links.push({ session, connection: greeted.connection, at: greeted.at, final: true });
    return thing === session ? links : links.filter(({ connection }) => connection === thing);
  }

  refilter() {
    this.layOut();
    this.filtered = (this.filtered ?? 0) + 1;
    this.change();
  }

  search(query) {
    this.filter.search(query);
    this.refilter();
  }

  clear() {
    this.filter.clear();
    this.refilter();
  }

  /** Brings into sight what was looked for, and selects it when it is one thing. */
  showFound() {
    const { found } = this.filter;
    if (!found?.events.length) return;
    const [first, last] = [found.events[0], found.events[found.events.length - 1]];
    const span = Math.max(last.at - first.at, 0.1);
    this.look(first.at - span * 0.2, last.at + span * 0.2);
    const named = found.things.find((thing) => thing.name === this.filter.query.trim());
    this.select(
      named ??
        (found.things.length === 1 ? found.things[0] : (this.run.host.get(this.filter.query.trim()) ?? null)),
      true,
    );
  }
}

/** The palette, with hatches at hand. */
function colours() {
  const all = palette();
  const hatches = new Map();
  const pen = document.createElement("canvas").getContext("2d");
  all.hatch = (colour) => {
    if (!hatches.has(colour)) hatches.set(colour, hatch(pen, colour));
    return hatches.get(colour);
  };
  return all;
}

new App(readRun(JSON.parse(document.getElementById("data").textContent)));
