// The run, read once: events, and the things with a beginning and an end that they tell of.
//
// A thing is a session, a connection of an upstream, a fault, a stranger's deed or a violation. All have
// `id, kind, name, lane, hosts, from, to, ended, events`; times are simulated seconds.

/** The kind that an event is listed under, by the name of the event. */
const EVENT_KINDS = {
  "opens": "session",
  "greeted": "session",
  "ends": "session",
  "odd": "session",
  "accepts": "connection",
  "requested": "connection",
  "served": "connection",
  "fault-begins": "fault",
  "fault-ends": "fault",
  "fault-misses": "fault",
  "intrudes": "intrusion",
  "boots": "life",
  "stops": "life",
  "dials": "life",
  "broken": "violation",
};

function readRun(data) {
  const last = data.events.length ? data.events[data.events.length - 1].at : 0;
  const run = {
    data,
    end: data.failure ? last : Math.max(last, data.duration_ms / 1000),
    hosts: data.hosts.map((host) => ({
      ...host,
      id: host.name,
      kind: "host",
      hosts: [host.name],
      events: [],
    })),
    host: new Map(),
    things: new Map(),
    events: [],
    sessions: new Map(),
    connections: new Map(),
    faults: [],
    intrusions: [],
    violations: [],
    phases: [],
    registered: [{ at: 0, clients: 0 }],
    dials: [],
  };
  for (const host of run.hosts) run.host.set(host.name, host);
  data.faults.forEach((fault, nth) => addFault(run, fault, nth));
  data.events.forEach((line, n) => {
    const [name, fields] = Object.entries(line.event)[0];
    const kind = EVENT_KINDS[name];
    const fault = kind === "fault" ? run.faults[fields.nth] : undefined;
    const event = {
      n,
      name,
      fields,
      kind,
      at: line.at,
      place: line.place,
      words: fault ? line.words.replace(fields.act, () => `${fault.label} at ${fault.at.join(", ")}`) : line.words,
      things: [],
      hosts: [],
    };
    run.events.push(event);
    if (READS[name]) READS[name](run, event, fields);
    else attach(run, event, fields);
    event.kind ??= event.things[0]?.kind ?? "run";
    const host = run.host.get(line.place);
    if (host && !event.hosts.includes(host.name)) event.hosts.push(host.name);
    for (const thing of event.things) {
      thing.events.push(event);
      for (const of of thing.hosts) if (!event.hosts.includes(of)) event.hosts.push(of);
    }
  });
  for (const event of run.events) {
    for (const name of event.hosts) run.host.get(name)?.events.push(event);
  }
  finish(run);
  return run;
}

/** Outcomes of sessions that need no excuse. */
const WELL = ["complete", "left", "open"];

/** An event that nothing is known of belongs to what it names. */
function attach(run, event, { session, serial, stranger }) {
  const intrusion = run.intrusions.find((one) => stranger !== undefined && one.lane === stranger);
  const named = [run.sessions.get(session), run.connections.get(serial), intrusion];
  event.things.push(...named.filter((thing) => thing));
}

/** What each event adds. */
const READS = {
  "opens"(run, event, { session, visitor, visit }) {
    const thing = add(run, {
      id: `session-${session}`,
      kind: "session",
      name: `session ${session}`,
      number: session,
      lane: visitor,
      hosts: [visitor],
      from: event.at,
      visit,
      greeted: null,
      tries: [],
      outcome: "open",
      ill: false,
      odd: [],
    });
    run.sessions.set(session, thing);
    event.things.push(thing);
  },
  "greeted"(run, event, { session, greeting }) {
    const thing = run.sessions.get(session);
    if (!thing) return;
    thing.greeted = {
      at: event.at,
      serial: greeting.serial,
      connection: run.connections.get(greeting.serial),
    };
    event.things.push(thing);
    if (thing.greeted.connection) join(thing, thing.greeted.connection);
  },
  "ends"(run, event, { session, how }) {
    const thing = run.sessions.get(session);
    if (!thing) return;
    Object.assign(thing, { to: event.at, ended: true });
    thing.outcome = typeof how === "string" ? how : Object.keys(how)[0];
    thing.ill = !WELL.includes(thing.outcome);
    thing.why = typeof how === "string" ? "" : Object.values(how)[0];
    event.things.push(thing);
  },
  "odd"(run, event, { session }) {
    const thing = run.sessions.get(session);
    if (!thing) return;
    thing.odd.push(event.words);
    event.things.push(thing);
  },
  "accepts"(run, event, { upstream, serial }) {
    const thing = add(run, {
      id: `connection-${serial}`,
      kind: "connection",
      name: `connection ${hex(serial)}`,
      serial,
      lane: upstream,
      hosts: [upstream],
      from: event.at,
      session: null,
      clean: null,
    });
    run.connections.set(serial, thing);
    event.things.push(thing);
  },
  "requested"(run, event, { serial, request }) {
    const thing = run.connections.get(serial);
    if (!thing) return;
    const session = run.sessions.get(request.connection);
    event.things.push(thing);
    thing.request = request;
    if (!session) return;
    session.tries.push({ at: event.at, connection: thing });
    join(session, thing);
    event.things.push(session);
  },
  "served"(run, event, { serial, got, clean, note }) {
    const thing = run.connections.get(serial);
    if (!thing) return;
    Object.assign(thing, { to: event.at, ended: true, got, clean, note });
    event.things.push(thing);
  },
  "fault-begins"(run, event, { nth }) {
    const thing = run.faults[nth];
    if (!thing) return;
    Object.assign(thing, { from: event.at, begun: true });
    event.things.push(thing);
  },
  "fault-ends"(run, event, { nth }) {
    const thing = run.faults[nth];
    if (!thing) return;
    Object.assign(thing, { to: event.at, ended: true });
    event.things.push(thing);
  },
  "fault-misses"(run, event, { nth }) {
    const thing = run.faults[nth];
    if (!thing) return;
    Object.assign(thing, { to: event.at, ended: true, missed: true });
    event.things.push(thing);
  },
  "intrudes"(run, event, { stranger, what }) {
    let thing = run.intrusions.find((one) => one.lane === stranger);
    if (!thing) {
      thing = add(run, {
        id: `intrusion-${stranger}`,
        kind: "intrusion",
        name: stranger,
        lane: stranger,
        hosts: [stranger],
        from: event.at,
        label: deedWords(run.host.get(stranger)?.deed) ?? what,
      });
      run.intrusions.push(thing);
    }
    if (what === "is done") Object.assign(thing, { to: event.at, ended: true });
    event.things.push(thing);
  },
  "phase"(run, event, { name }) {
    run.phases.push({ at: event.at, name });
  },
  "registered"(run, event, { clients }) {
    run.registered.push({ at: event.at, clients });
  },
  "dials"(run, event, { client }) {
    run.dials.push({ at: event.at, host: client });
  },
  "broken"(run, event, { invariant, what }) {
    event.things.push(addViolation(run, event.at, invariant, what));
  },
};

function add(run, thing) {
  const whole = { to: run.end, ended: false, events: [], ...thing };
  run.things.set(whole.id, whole);
  return whole;
}

function addFault(run, fault, nth) {
  run.faults.push(
    add(run, {
      id: `fault-${nth}`,
      kind: "fault",
      name: `fault #${nth}`,
      nth,
      family: fault.family,
      lane: fault.at[0],
      hosts: [...fault.at, ...fault.beside],
      at: fault.at,
      beside: fault.beside,
      act: fault.act,
      from: fault.from_ms / 1000,
      planned: [fault.from_ms, fault.to_ms],
      deed: fault.name,
      label: faultWords(fault, run.data.ports) + wayWords(fault),
      begun: false,
      missed: false,
    }),
  );
}

function addViolation(run, at, invariant, what) {
  const thing = add(run, {
    id: `violation-${run.violations.length}`,
    kind: "violation",
    name: `invariant ${invariant}`,
    lane: "oracle",
    hosts: [],
    from: at,
    to: at,
    ended: true,
    invariant,
    what,
  });
  run.violations.push(thing);
  return thing;
}

/** A session and a connection that know of each other. */
function join(session, connection) {
  connection.session ??= session;
  for (const host of connection.hosts) if (!session.hosts.includes(host)) session.hosts.push(host);
}

function finish(run) {
  // A panic fails a run without an event of its own.
  const { failure } = run.data;
  if (failure && !run.violations.length) {
    addViolation(run, run.end, failure.violation.invariant, failure.violation.what);
  }
  for (const violation of run.violations) violation.about = subjects(run, violation);
  const outcomes = new Set([...run.sessions.values()].map((session) => session.outcome));
  const ill = [...outcomes].filter((outcome) => !WELL.includes(outcome)).sort();
  run.outcomes = ["complete", "left", ...ill, "open"].filter((outcome) => outcomes.has(outcome));
  run.lives = readLives(run);
  loseConnections(run);
  run.clients = run.hosts.filter((host) => host.role === "client").length;
}

/** A service that goes down says nothing of its connections; they are over all the same. */
function loseConnections(run) {
  for (const thing of run.connections.values()) {
    if (thing.ended) continue;
    const { stretches } = run.lives.get(thing.lane);
    const down = stretches.find(({ state, from }) => state === "down" && from >= thing.from);
    if (down) Object.assign(thing, { to: down.from, ended: true, clean: false, got: null, note: "lost" });
  }
}

/** The sessions and connections that a violation speaks of. */
function subjects(run, { what }) {
  const about = new Set();
  for (const [, number] of what.matchAll(/session (\d+)/g)) about.add(run.sessions.get(Number(number)));
  for (const [serial] of what.matchAll(/\b(0x[0-9a-f]{9,}|\d{10,})\b/g))
    about.add(run.connections.get(Number(serial)));
  // A session that is shown, not named.
  for (const [, lane, opened] of what.matchAll(/(visitor-\d+) asked group-\d+ at ([\d.]+) s\b/g)) {
    const same = (one) => one.lane === lane && Math.abs(one.from - Number(opened)) < 0.001;
    about.add([...run.sessions.values()].find(same));
  }
  about.delete(undefined);
  return [...about];
}

/** The faults that were felt between two moments, those that began first first. */
function inForce(run, from, to = from) {
  const felt = (fault) => fault.begun && !fault.missed && fault.from <= to && fault.to >= from;
  return run.faults.filter(felt).sort((one, other) => one.from - other.from);
}
