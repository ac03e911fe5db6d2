// Words, and the elements that carry them.

const seconds = (t) => `${t.toFixed(3)} s`;

const lasting = (time) => {
  if (time < 1) return `${Math.round(time * 1000)} ms`;
  return `${time.toFixed(time < 10 ? 2 : 1)} s`;
};

const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;

const bytes = (n) => n.toLocaleString("en");

const hex = (serial) => `0x${serial.toString(16)}`;

/** An element; `given` holds properties, a `class`, a `title`, handlers such as `onclick`. */
function el(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else if (name in element && name !== "class") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** What a fault does, in a few words; its hosts are told by where it is drawn. */
const FAULT_WORDS = {
  "lag": (act) => `lag +${act.more_ms} ms`,
  "loss": (act) => `loss ${act.percent}%`,
  "narrow": (act) => `narrow ${act.rate} B/ms`,
  "split": (act) => `split off, ${many(act.clients.length, "client")}`,
  "black-hole": (act, ports) => `black hole: ${flowWords(act.flow, ports)}`,
  "reset-flow": (act, ports) => `reset: ${flowWords(act.flow, ports)}`,
  "cut-off": (act, ports) =>
    `cut off after ${act.after} B ${act.reply ? "back" : "out"}: ${flowWords(act.flow, ports)}`,
  "sluggish": (act) => `sluggish, 1 in ${act.every_ms} ms`,
  "move-names": (act) => (act.lost ? "names moved away" : "names moved"),
  ail: (act) => `${typeof act.mood === "string" ? act.mood : Object.keys(act.mood)[0]}`,
  flap: (act) => `flaps, ${act.half_period_ms} ms each`,
};

const flowWords = (flow, ports) => ports[flow.port] ?? `port ${flow.port}`;

/** Fields that name hosts. */
const HOST_FIELDS = ["who", "between", "clients", "upstream", "flow", "both"];

function faultWords(fault, ports) {
  const act = Object.values(fault.act)[0] ?? {};
  const words = FAULT_WORDS[fault.name];
  try {
    if (words) return words(act, ports);
  } catch {
    // The plan spells it in another way now; what follows needs no knowledge of it.
  }
  const rest = Object.entries(act).filter(([field]) => !HOST_FIELDS.includes(field));
  return [fault.name, ...rest.map(([field, value]) => `${field.replaceAll("_", " ")} ${fieldWords(value)}`)].join(" ");
}

/** A stranger's deed in words. */
function deedWords(deed) {
  if (!deed) return null;
  const [name, fields] = typeof deed === "string" ? [deed, {}] : Object.entries(deed)[0];
  const word = ([field, value]) => {
    if (field === "group") return groupName(value);
    if (field === "client") return `of client-${value + 1}`;
    return `${field.replaceAll("_", " ")} ${value}`;
  };
  const rest = Object.entries(fields).map(word);
  return [name.replaceAll("-", " "), ...rest].join(", ");
}

/** How a visitor behaves, in words. */
function mannerWords(manner) {
  const [name, fields] = typeof manner === "string" ? [manner, {}] : Object.entries(manner)[0];
  const words = name === "half-close" ? name : name.replaceAll("-", " ");
  return fields.after_ms === undefined ? words : `${words} after ${fields.after_ms} ms`;
}

/** The field of a plan, in words. */
function fieldWords(value) {
  if (value === true || value === false) return value ? "yes" : "no";
  if (value === null) return "none";
  if (Array.isArray(value)) return value.map(fieldWords).join(" to ");
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .map(([field, one]) => `${field.replaceAll("_", " ")} ${fieldWords(one)}`)
    .join(", ");
}

/** The name of a group, which plans count from 0. */
const groupName = (group) => `group-${group + 1}`;

/** The way that a fault is on, seen from the host on whose lane it is drawn. */
function wayWords(fault) {
  const { between, both } = Object.values(fault.act)[0] ?? {};
  if (!between) return "";
  const arrow = both === false ? (between[0] === fault.at[0] ? "→" : "←") : "⇄";
  return ` ${arrow} ${fault.beside[0]}`;
}
