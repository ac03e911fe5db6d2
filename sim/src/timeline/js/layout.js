// Where on the lanes everything stands, from top to bottom. Left to right is time, and the chart's business.

/** Heights in pixels, where there is much room and where there is little. */
const ROOMY = {
  pad: 9,
  life: 5,
  fault: 19,
  echo: 6,
  session: 24,
  connection: 9,
  rows: 8,
  graph: 56,
  least: 36,
  oracle: 28,
};
const DENSE = {
  pad: 4,
  life: 4,
  fault: 15,
  echo: 5,
  session: 13,
  connection: 5,
  rows: 6,
  graph: 32,
  least: 23,
  oracle: 24,
};

/** Steps from one to the other. */
const DENSITIES = 10;

/** What `room` pixels hold: see `layOutAt`. */
function layOut(run, filter, room) {
  let layout;
  for (let step = 0; step <= DENSITIES; step += 1) {
    const mixed = (name) => Math.round(ROOMY[name] + ((DENSE[name] - ROOMY[name]) * step) / DENSITIES);
    const sizes = Object.fromEntries(Object.keys(ROOMY).map((name) => [name, mixed(name)]));
    layout = layOutAt(run, filter, sizes);
    // The roomiest with which everything is in sight at once.
    if (layout.height <= room) break;
  }
  return layout;
}

/**
 * Lanes of the hosts that are shown: `{ host, top, height, life, boxes, graph }`, boxes
 * `{ thing, top, height, echo, next }`. Heights are of `sizes`.
 */
function layOutAt(run, filter, sizes) {
  const lanes = [];
  let top = 0;
  if (run.violations.length) {
    const boxes = run.violations.map((thing) => ({ thing, top: 3, height: sizes.oracle - 6 }));
    lanes.push({
      host: { name: "oracle", role: "oracle" },
      top,
      height: sizes.oracle,
      life: null,
      boxes,
      graph: null,
    });
    top += sizes.oracle;
  }
  for (const host of run.hosts) {
    if (!filter.shows("host", host.name)) continue;
    const lane = layOutHost(run, filter, sizes, host, top);
    lanes.push(lane);
    top += lane.height;
  }
  return { lanes, height: top, sizes };
}

function layOutHost(run, filter, sizes, host, top) {
  const boxes = [];
  let y = sizes.pad;
  const { stretches } = run.lives.get(host.name);
  const alive = host.role !== "visitor" || stretches.some(({ state }) => state !== "up");
  const life = alive && host.role !== "stranger" && filter.shows("kind", "life") ? y : null;
  if (life !== null) y += sizes.life + 3;

  const drawn = run.faults.filter((fault) => fault.begun && filter.draws(fault));
  // Room for the words of a short one.
  const room = run.end * 0.07;
  const put = (things, height, echo, gap) => {
    const rows = pack(things, gap);
    rows.forEach((row, n) => {
      row.forEach((thing, nth) => {
        boxes.push({ thing, top: y + n * height, height: height - 1, echo, next: row[nth + 1] });
      });
    });
    y += rows.length * height + (rows.length ? 2 : 0);
  };
  put(
    drawn.filter((fault) => fault.at.includes(host.name)),
    sizes.fault,
    false,
    room,
  );

  const things = [...run.things.values()].filter((thing) => thing.lane === host.name && filter.draws(thing));
  put(
    things.filter((thing) => thing.kind === "intrusion"),
    sizes.fault,
    false,
    room,
  );
  put(
    things.filter((thing) => thing.kind === "session"),
    sizes.session,
    false,
    0,
  );
  const connections = things.filter((thing) => thing.kind === "connection");
  const rows = pack(connections, 0.02);
  rows.forEach((row, n) => {
    const at = y + (n % sizes.rows) * sizes.connection;
    for (const thing of row) boxes.push({ thing, top: at, height: sizes.connection - 1, echo: false });
  });
  y += Math.min(rows.length, sizes.rows) * sizes.connection + (rows.length ? 2 : 0);

  put(
    drawn.filter((fault) => fault.beside.includes(host.name)),
    sizes.echo,
    true,
    0,
  );
  let graph = null;
  if (host.role === "server") {
    graph = y + 2;
    y += sizes.graph + 2;
  }
  return { host, top, height: Math.max(y + sizes.pad - 2, sizes.least), life, boxes, graph };
}

/** Rows in which nothing overlaps; the earliest goes into the first row with room. */
function pack(things, gap) {
  const rows = [];
  for (const thing of [...things].sort((one, other) => one.from - other.from)) {
    const row = rows.find((row) => row.free <= thing.from);
    const free = Math.max(thing.to, thing.from + gap);
    if (row) {
      row.things.push(thing);
      row.free = free;
    } else {
      rows.push({ things: [thing], free });
    }
  }
  return rows.map((row) => row.things);
}
