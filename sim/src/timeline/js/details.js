// What there is to say about each kind of thing: `{ title, facts, groups }`. A fact is `[name, value]`, a group
// `[heading, things]`; values are text, elements, or things, which become links.

const DETAILS = {
  session(run, thing) {
    const { visit, greeted } = thing;
    const facts = [
      ["outcome", thing.why ? `${thing.outcome}: ${thing.why}` : outcomeWords(thing)],
      ["visitor", run.host.get(thing.lane)],
      ["opened", seconds(thing.from)],
      ["greeted", greeted ? `${seconds(greeted.at)}, after ${lasting(greeted.at - thing.from)}` : "never"],
      [
        "ended",
        thing.ended ? `${seconds(thing.to)}, after ${lasting(thing.to - thing.from)}` : "not in this run",
      ],
      ["served by", greeted ? (greeted.connection ?? hex(greeted.serial)) : "nobody"],
      ["manner", mannerWords(visit.manner)],
      ["group", groupName(visit.group)],
      ["asks for", `${bytes(visit.len)} bytes up, ${bytes(visit.reply_len)} down`],
      ["reply", `${visit.when.replaceAll("-", " ")}, ${visit.delay_ms} ms later`],
    ];
    if (visit.piece_pause_ms)
      facts.push(["writes", `${bytes(visit.piece)} bytes each ${visit.piece_pause_ms} ms`]);
    if (visit.read_pause_ms) facts.push(["reads", `a pause of ${visit.read_pause_ms} ms each time`]);
    if (thing.odd.length) facts.push(["odd", thing.odd.join("; ")]);
    return {
      facts,
      groups: [
        ["connections that saw it", thing.tries.map((one) => one.connection)],
        ...felt(run, thing.from, thing.to, onPath(run, thing)),
      ],
    };
  },

  connection(run, thing) {
    const facts = [
      ["upstream", run.host.get(thing.lane)],
      ["session", thing.session ?? "none that is known"],
      ["accepted", seconds(thing.from)],
      [
        "over",
        thing.ended ? `${seconds(thing.to)}, after ${lasting(thing.to - thing.from)}` : "not in this run",
      ],
    ];
    if (thing.request)
      facts.push(["wanted", `${bytes(thing.request.len)} bytes up, ${bytes(thing.request.reply_len)} down`]);
    if (thing.note === "lost" && thing.got === null) {
      facts.push(["note", "lost with its host, which said nothing of it"]);
    } else if (thing.ended) {
      facts.push(["got", `${bytes(thing.got)} bytes and ${thing.clean ? "a clean end" : "no clean end"}`]);
      facts.push(["note", thing.note]);
    }
    return { facts, groups: felt(run, thing.from, thing.to, new Set([thing.lane, clientOf(thing.lane)])) };
  },

  fault(run, thing) {
    const [from, to] = thing.planned;
    const facts = [
      ["kind", `${thing.deed} (${thing.family})`],
      ["at", thing.at.map((name) => run.host.get(name))],
      ["from", seconds(thing.from)],
      [
        "to",
        thing.ended ? `${seconds(thing.to)}, after ${lasting(thing.to - thing.from)}` : "the end of the run",
      ],
      ["planned", `${from} to ${to === null ? "for good" : to} ms`],
      ["fields", fieldWords(Object.values(thing.act)[0] ?? {}) || "none"],
    ];
    if (thing.beside.length) facts.splice(2, 0, ["towards", thing.beside.map((name) => run.host.get(name))]);
    if (thing.missed) facts.unshift(["missed", "it found nothing to be done to, or the engine cannot"]);
    const hurt = [...run.sessions.values()].filter((session) => {
      const during = session.from <= thing.to && session.to >= thing.from;
      return during && session.ill && thing.at.some((host) => onPath(run, session).has(host));
    });
    return {
      facts,
      groups: [["sessions that may have met it and broke", thing.missed ? [] : hurt]],
      more: ["as a plan file spells it", JSON.stringify(thing.act)],
    };
  },

  intrusion(run, thing) {
    const facts = [
      ["deed", thing.label],
      ["from", seconds(thing.from)],
      [
        "to",
        thing.ended ? `${seconds(thing.to)}, after ${lasting(thing.to - thing.from)}` : "not in this run",
      ],
    ];
    return { facts, groups: felt(run, thing.from, thing.to, new Set([thing.lane, "server"])) };
  },

  violation(run, thing) {
    const { failure } = run.data;
    const before = run.data.settle_ms / 1000;
    const late = inForce(run, thing.from - before, thing.from).filter((fault) => fault.to < thing.from);
    const facts = [
      ["when", seconds(thing.from)],
      ["class", thing === run.violations[0] && failure ? failure.violation.class : ""],
      ["seen", el("span", { class: "what" }, thing.what)],
    ].filter(([, value]) => value);
    const groups = [
      ["it speaks of", thing.about],
      ["hosts not up", notUp(run, thing.from)],
      ["faults in force", inForce(run, thing.from).filter((fault) => !late.includes(fault))],
      [`faults over for less than ${before} s`, late],
      [
        "sessions open",
        [...run.sessions.values()].filter(
          ({ from, to, ended }) => from <= thing.from && (!ended || to > thing.from),
        ),
      ],
    ];
    const sockets = failure?.sockets ?? [];
    return {
      facts,
      groups,
      more: sockets.length ? [many(sockets.length, "socket") + " open", sockets.join("\n")] : null,
    };
  },

  host(run, thing) {
    const life = run.lives.get(thing.name);
    const facts = [["role", thing.about ? `${thing.role}, ${thing.about}` : thing.role]];
    if (life.boots) facts.push(["lifes", `${life.starts.length}`]);
    for (const state of ["down", "paused", "stopping"]) {
      const spans = life.stretches.filter((stretch) => stretch.state === state);
      const total = spans.reduce((sum, { from, to }) => sum + to - from, 0);
      if (spans.length)
        facts.push([STATE_WORDS[state], `${many(spans.length, "time")}, ${lasting(total)} together`]);
    }
    const sessions = [...run.sessions.values()].filter((session) => session.hosts.includes(thing.name));
    if (sessions.length) facts.push(["sessions", counts(sessions)]);
    return {
      facts,
      groups: [
        ["faults there", run.faults.filter((fault) => fault.begun && fault.hosts.includes(thing.name))],
        ["sessions there that broke", sessions.filter(({ ill }) => ill)],
      ],
    };
  },

  life(run, thing) {
    const facts = [
      ["host", run.host.get(thing.host)],
      ["state", STATE_WORDS[thing.state]],
      ["from", seconds(thing.from)],
      ["to", `${seconds(thing.to)}, after ${lasting(thing.to - thing.from)}`],
    ];
    const tries = run.lives.get(thing.host).starts.filter((at) => at > thing.from && at < thing.to).length;
    if (thing.life !== null && thing.state !== "down") facts.push(["life", `number ${thing.life}`]);
    if (thing.why) facts.push(["why", thing.why]);
    if (tries) facts.push(["boots", `${many(tries, "time")} meanwhile, in vain`]);
    return {
      facts,
      groups: thing.state === "up" ? [] : felt(run, thing.from, thing.to, new Set([thing.host])),
    };
  },

  run(run) {
    const { data } = run;
    const kinds = new Map();
    for (const fault of run.faults) kinds.set(fault.family, (kinds.get(fault.family) ?? 0) + 1);
    const facts = [
      ["sessions", counts([...run.sessions.values()])],
      ["faults", run.faults.length ? [...kinds].map(([family, n]) => `${n} ${family}`).join(", ") : "none"],
      ["healed", `at ${seconds(data.heal_ms / 1000)}${healedWords(data)}`],
      [
        "ran",
        `${seconds(run.end)} of ${seconds(data.duration_ms / 1000)} planned, in ${lasting(data.took_ms / 1000)}`,
      ],
      ["hashed", `${bytes(data.entries)} entries, of them ${bytes(data.packets)} packets`],
    ];
    return {
      facts,
      groups: [],
      more: [
        "knobs",
        Object.entries(data.knobs)
          .map(([name, value]) => `${name.replaceAll("_", " ")}: ${fieldWords(value)}`)
          .join("\n"),
      ],
    };
  },
};

/** What hosts were in at a moment, but for those that were well. */
function notUp(run, at) {
  const all = [...run.lives.values()].flatMap(({ stretches }) => stretches);
  return all.filter(
    ({ state, from, to, host }) =>
      state !== "up" && from <= at && to >= at && run.host.get(host).role !== "stranger",
  );
}

const STATE_WORDS = {
  up: "up",
  down: "down",
  paused: "standing still",
  stopping: "told to stop",
  absent: "not there",
};

const outcomeWords = ({ outcome }) => (outcome === "open" ? "open when the run ended" : outcome);

const healedWords = ({ healed_after_ms: after }) =>
  after === null ? "; never all well again" : `, all well ${(after / 1000).toFixed(1)} s later`;

function counts(sessions) {
  const numbers = new Map();
  for (const { outcome } of sessions) numbers.set(outcome, (numbers.get(outcome) ?? 0) + 1);
  return [...numbers].map(([outcome, n]) => `${n} ${outcome}`).join(", ");
}

const clientOf = (host) => host.replace(/^upstream-/, "client-");

/** The hosts that a session may have run through. */
function onPath(run, thing) {
  const path = new Set(["server"]);
  for (const host of thing.hosts) {
    path.add(host);
    path.add(clientOf(host));
  }
  const group = `serves ${groupName(thing.visit.group)}`;
  if (!thing.tries.length && !thing.greeted) {
    for (const host of run.hosts)
      if (host.about === group) path.add(host.name).add(host.name.replace("client", "upstream"));
  }
  return path;
}

/** The faults that were felt meanwhile, those on the path apart from others. */
function felt(run, from, to, path) {
  const all = inForce(run, from, to);
  const near = all.filter((fault) => fault.at.some((host) => path.has(host)));
  return [
    ["faults on its way meanwhile", near],
    ["faults elsewhere meanwhile", all.filter((fault) => !near.includes(fault))],
  ];
}
