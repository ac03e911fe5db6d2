// The lifes of hosts: when each was up, down, standing still or told to stop.

/** What a fault does to the process of the hosts it happens to. */
const EFFECTS = {
  "crash": "down",
  "power-loss": "down",
  "take-ports": "down",
  "pause": "paused",
  "stop": "stopping",
};

/** By host, stretches of one state each: `{ host, state, from, to, life, why }`, and the moments of its boots. */
function readLives(run) {
  const boots = new Set(
    run.events.filter((event) => event.name === "boots").map((event) => event.fields.host),
  );
  const lives = new Map();
  for (const { name, role } of run.hosts) {
    // A stranger that only knocks has no process to speak of.
    const state = boots.has(name) ? "absent" : role === "stranger" ? "absent" : "up";
    lives.set(name, {
      boots: boots.has(name),
      up: state === "up",
      was: state,
      downs: 0,
      pauses: 0,
      stopping: 0,
      life: null,
      why: "",
      since: 0,
      stretches: [],
      starts: [],
    });
  }
  for (const event of run.events) {
    for (const name of touch(run, event, lives)) turn(name, lives.get(name), event.at);
  }
  for (const [name, life] of lives) close(name, life, run.end);
  return lives;
}

/** Takes note of an event; says whose state may have changed. */
function touch(run, { name, fields, at }, lives) {
  if (name === "boots" || name === "stops") {
    const life = lives.get(fields.host);
    if (!life) return [];
    life.up = name === "boots";
    life.stopping = 0;
    if (life.up) {
      life.life = fields.life;
      life.starts.push(at);
    } else {
      life.why = `stopped: ${fields.why}`;
    }
    return [fields.host];
  }
  const fault = name === "fault-begins" || name === "fault-ends" ? run.faults[fields.nth] : null;
  if (!fault || fault.missed || !EFFECTS[fault.deed]) return [];
  const more = name === "fault-begins" ? 1 : -1;
  const hosts = fault.at.filter((host) => lives.has(host));
  for (const host of hosts) {
    const life = lives.get(host);
    switch (EFFECTS[fault.deed]) {
      case "down":
        life.downs += more;
        if (more > 0) {
          life.up = false;
          life.why = `#${fault.nth} ${fault.deed}`;
        } else if (!life.boots) {
          // Nobody says that it boots.
          life.up = life.downs === 0;
        }
        break;
      case "paused":
        life.pauses += more;
        break;
      case "stopping":
        life.stopping = more > 0 && life.up ? 1 : 0;
        break;
    }
  }
  return hosts;
}

function turn(name, life, at) {
  const is = stateOf(life);
  if (is === life.was) return;
  close(name, life, at);
  Object.assign(life, { was: is, since: at });
}

function stateOf(life) {
  if (!life.up) return life.was === "absent" ? "absent" : "down";
  if (life.pauses > 0) return "paused";
  return life.stopping ? "stopping" : "up";
}

/** A life that ends sooner than this, by itself, has not begun. */
const STILLBORN = 0.1;

function close(name, life, to) {
  if (to <= life.since || life.was === "absent") return;
  const last = life.stretches[life.stretches.length - 1];
  if (last?.state === "down" && last.to >= life.since) {
    const brief = life.was === "up" && to - life.since < STILLBORN && !life.up;
    if (brief || life.was === "down") {
      // Down all along, whatever was tried.
      Object.assign(last, { to, why: life.why });
      return;
    }
  }
  life.stretches.push({
    id: `life-${name}-${life.stretches.length}`,
    kind: "life",
    host: name,
    lane: name,
    hosts: [name],
    name: `${name} ${life.was}`,
    state: life.was,
    from: life.since,
    to,
    ended: true,
    life: life.life,
    why: life.was === "down" ? life.why : "",
    events: [],
  });
}
