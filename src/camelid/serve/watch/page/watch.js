"use strict";
// Asks the server what is new, every two seconds, and shows it. Names, prompts and completions are other people's text:
// they come in as text, never as markup. Drawing is in plot.js.
const EVERY = { running: 2000, quiet: 10000 }; // milliseconds between questions
const MOST_POINTS = 400; // of a curve; a plot is about as many pixels wide
const STATES = { done: "done", running: "running", stopped: "stopped or failed", waiting: "waiting" };
const SYMBOLS = { done: "✓", running: "●", stopped: "■", waiting: "○" };
const $ = (id) => document.getElementById(id);

const view = {
  state: null,
  chosen: null, // keys of the stages that are drawn; null: those of the kind that runs
  curves: new Map(), // key -> {cursor, size, series: name -> part}
  guards: new Map(), // key -> {size, guards, trips}
  plots: new Map(), // name -> Plot
  samples: { of: null, size: 0, rows: [], before: null, waiting: null },
};

// --- words ---

const keyOf = (run, stage) => JSON.stringify([run, stage]);
const kindOf = (name) => name.split("/").at(-1);
function shownSeconds(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 86400 * 2) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.round(whole / 86400)} days`;
}
const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;

// All stages with a key, a label that is short where there is one run only, and their run's number.
function allStages() {
  const several = view.state.runs.length > 1;
  return view.state.runs.flatMap((run, number) => run.stages.map((stage) => ({
    ...stage, run: number, key: keyOf(number, stage.name), kind: kindOf(stage.name),
    label: several ? `${run.name} · ${stage.name}` : stage.name,
  })));
}

// The stages that are drawn: those chosen or, until someone chooses, all of the kind that is at hand.
function drawnStages() {
  const drawable = allStages().filter((stage) => stage.metrics);
  if (view.chosen) return drawable.filter((stage) => view.chosen.has(stage.key));
  const atHand = drawable.find((stage) => stage.state === "running") ?? drawable.at(-1);
  return drawable.filter((stage) => stage.kind === atHand?.kind);
}

// --- questions ---

async function ask(question, given = {}) {
  const reply = await fetch(`api/${question}?${new URLSearchParams(given)}`);
  if (!reply.ok) throw new Error(`${question}: ${reply.status}`);
  return reply.json();
}
const asked = (stage) => ({ run: stage.run, stage: stage.name });

async function updateCurves(stage) {
  const held = view.curves.get(stage.key) ?? { cursor: "", size: 0, rows: 0, series: new Map() };
  view.curves.set(stage.key, held);
  if (held.size === stage.metrics) return;
  const answer = await ask("curves", { ...asked(stage), since: held.cursor, most: MOST_POINTS });
  if (answer.new) held.series.clear();
  for (const part of answer.series) {
    const known = held.series.get(part.name);
    if (known && part.from > 0) {
      for (const column of ["step", "mean", "low", "high"]) {
        if (!part[column]) continue;
        known[column].length = part.from;
        for (const value of part[column]) known[column].push(value);
      }
      Object.assign(known, { last: part.last, bad: part.bad, first_bad: part.first_bad });
    } else {
      held.series.set(part.name, part);
    }
  }
  Object.assign(held, { cursor: answer.cursor, size: stage.metrics, rows: answer.rows, broken: answer.broken });
}

async function updateGuards(stage) {
  const held = view.guards.get(stage.key);
  if (held?.size !== stage.guards) view.guards.set(stage.key, { size: stage.guards, ...(await ask("guards", asked(stage))) });
}

// --- the run ---

function showNow() {
  const { runs } = view.state;
  $("names").textContent = runs.length > 1 ? `${runs.length} runs` : runs[0].name;
  $("now").replaceChildren(...runs.map((run) => {
    const done = run.stages.filter((stage) => stage.state === "done").length;
    const facts = run.stages.length ? [`${done} of ${counted(run.stages.length, "stage", "stages")} done`] : [];
    if (run.seconds) facts.push(`${shownSeconds(run.seconds)} of work so far`);
    const lines = run.stages.map((stage) => atWork(stage) ?? halted(stage)).filter(Boolean);
    if (run.state === "waiting") lines.push(make("p", { class: "lead" }, `Nothing has begun in ${run.path} yet; it shows here when it does.`));
    if (run.state === "running" && !lines.length) lines.push(make("p", { class: "lead" }, "Between two stages."));
    return make("div", { class: "run" },
      make("p", { class: "facts" },
        runs.length > 1 ? make("b", {}, run.name) : null,
        make("span", { class: `pill ${run.state}` }, `${SYMBOLS[run.state]} ${STATES[run.state]}`),
        ...facts.map((fact) => make("span", { class: "fact" }, fact))),
      ...lines);
  }));
  const at = runs.flatMap((run) => run.stages).find((stage) => stage.progress);
  const share = at ? `${Math.floor((100 * at.progress.done) / at.progress.total)}% ${at.name} · ` : "";
  document.title = `${share}${$("names").textContent} · camelid watch`;
}

function atWork(stage) {
  if (stage.state !== "running") return null;
  const { progress } = stage;
  const words = [`running for ${shownSeconds(stage.seconds)}`];
  if (progress) words.unshift(`${progress.what} ${shownNumber(progress.done)} of ${shownNumber(progress.total)}`);
  if (progress && progress.left !== null) words.push(progress.left < 1 ? "nearly there" : `about ${shownSeconds(progress.left)} left of these`);
  return make("div", { class: "work" },
    make("p", {}, make("b", {}, stage.name), ` ${words.join(" · ")}`),
    make("progress", { max: progress?.total ?? null, value: progress?.done ?? null, "aria-label": stage.name }));
}

function halted(stage) {
  if (stage.state !== "stopped") return null;
  const since = stage.silent === null ? "" : `, last sign of life ${shownSeconds(stage.silent)} ago`;
  const from = stage.checkpoint === null ? "from the start of the stage" : `from its checkpoint of step ${stage.checkpoint}`;
  return make("p", { class: "halted" }, make("b", {}, stage.name),
    ` is not finished and no process of this machine works on it${since}. The same command goes on ${from}.`);
}

// The stages in order, as buttons, in groups by their run and the folder that they are in.
function showStages(drawn) {
  const stages = allStages();
  const keys = drawn.map((stage) => stage.key);
  const shown = JSON.stringify(stages.map((s) => [s.key, s.state, s.tripped, Boolean(s.metrics), keys.indexOf(s.key)]));
  if (showStages.shown === shown) return; // so that a button keeps the focus
  showStages.shown = shown;
  const { runs } = view.state;
  $("stages").replaceChildren(...runs.flatMap((run, number) => {
    const groups = []; // [folder, stages that follow one another in it]
    for (const stage of stages.filter((stage) => stage.run === number)) {
      const folder = stage.name.split("/").slice(0, -1).join("/");
      if (groups.at(-1)?.[0] === folder) groups.at(-1)[1].push(stage);
      else groups.push([folder, [stage]]);
    }
    const titled = groups.some(([folder]) => folder); // a column for titles, empty where stages stand in no folder
    return [
      runs.length > 1 && groups.length ? make("h3", { class: "whose" }, run.name) : null,
      ...groups.map(([folder, those]) => make("div", { class: "group" },
        titled ? make("h4", {}, folder) : null,
        make("div", { class: "chips" }, ...those.map((stage) => chip(stage, keys.indexOf(stage.key)))))),
    ].filter(Boolean);
  }));
}

function chip(stage, place) {
  const time = stage.state === "done" && stage.seconds !== null ? shownSeconds(stage.seconds) : STATES[stage.state];
  const content = [
    make("span", { class: `symbol ${stage.state}`, "aria-hidden": "true" }, SYMBOLS[stage.state]),
    make("span", { class: "name" }, kindOf(stage.name)),
    make("small", {}, time),
    stage.tripped ? make("small", { class: "tripped" }, counted(stage.tripped, "guard trip", "guard trips")) : null,
  ];
  if (!stage.metrics) return make("span", { class: "chip", title: `${stage.label}: no curves` }, ...content);
  return make("button", {
    type: "button", class: `chip ${place >= 0 ? `c${place % COLOURS}` : ""}`, "aria-pressed": String(place >= 0), title: stage.label,
    onclick: () => {
      const chosen = new Set(drawnStages().map((drawn) => drawn.key));
      if (!chosen.delete(stage.key)) chosen.add(stage.key);
      choose(chosen);
    },
  }, ...content);
}

function choose(keys) {
  view.chosen = keys;
  refresh();
}

// --- curves ---

function showKinds(drawn) {
  const kinds = new Map();
  for (const stage of allStages().filter((stage) => stage.metrics)) kinds.set(stage.kind, [...(kinds.get(stage.kind) ?? []), stage.key]);
  const keys = drawn.map((stage) => stage.key);
  const shown = JSON.stringify([[...kinds], keys, view.chosen !== null]);
  if (showKinds.shown === shown) return;
  showKinds.shown = shown;
  const same = (others) => others.length === keys.length && others.every((key) => keys.includes(key));
  const button = (text, pressed, onclick) => make("button", { type: "button", "aria-pressed": String(pressed), onclick }, text);
  $("kinds").replaceChildren(
    button("newest", view.chosen === null, () => choose(null)),
    ...[...kinds].map(([kind, of]) =>
      button(of.length > 1 ? `${kind} ×${of.length}` : kind, view.chosen !== null && same(of), () => choose(new Set(of)))));
  $("legend").replaceChildren(...(drawn.length > 1 ? drawn : []).map((stage, place) =>
    make("span", { class: `c${place % COLOURS}${place >= COLOURS ? " dashed" : ""}` }, make("i", {}), stage.label)));
}

function showCurves(drawn) {
  showKinds(drawn);
  const groups = new Map(view.state.groups.map((title) => [title, new Map()]));
  drawn.forEach((stage, place) => {
    for (const part of view.curves.get(stage.key)?.series.values() ?? []) {
      const names = groups.get(part.group);
      if (!names.has(part.name)) names.set(part.name, []);
      names.get(part.name).push({ ...part, firstBad: part.first_bad, label: stage.label, colour: place % COLOURS, dashed: place >= COLOURS });
    }
  });
  const trips = drawn.flatMap((stage) => view.guards.get(stage.key)?.trips ?? []);
  const filled = [...groups].filter(([, names]) => names.size);
  const layout = JSON.stringify(filled.map(([title, names]) => [title, [...names.keys()]]));
  if (showCurves.layout !== layout) {
    showCurves.layout = layout;
    $("plots").replaceChildren(...filled.flatMap(([title, names]) => [...names.keys()].map((name) => plotOf(name, title).element)));
  }
  for (const [, names] of filled) for (const [name, lines] of names) plotOf(name).show(lines, trips.filter((trip) => trip.guard === name));
  $("curves-note").textContent = curvesNote(drawn, filled.flatMap(([, names]) => [...names.values()].flat()));
}

function plotOf(name, group) {
  if (!view.plots.has(name)) {
    view.plots.set(name, new Plot(name, group, (step) => {
      for (const plot of view.plots.values()) if (plot.element.isConnected) plot.point(step);
    }));
  }
  return view.plots.get(name);
}

function curvesNote(drawn, lines) {
  if (!drawn.length) return "No stage has written metrics yet.";
  const notes = [];
  const largest = lines.reduce((size, line) => Math.max(size, line.size), 1);
  if (largest > 1) notes.push(`Long curves are shortened: a point stands for up to ${largest} rows, the line is their mean, the band goes from the least to the greatest.`);
  const broken = drawn.reduce((sum, stage) => sum + (view.curves.get(stage.key)?.broken ?? 0), 0);
  if (broken) notes.push(`${counted(broken, "line of metrics.jsonl is", "lines of metrics.jsonl are")} no JSON and left out.`);
  if (drawn.length > COLOURS) notes.push("Colours come again with dashes.");
  return notes.join(" ");
}

// --- guards ---

function showGuards(drawn) {
  const rows = drawn.flatMap((stage) => (view.guards.get(stage.key)?.guards ?? []).map((guard) => ({ ...guard, stage })));
  $("guards").hidden = !rows.length;
  const lastTrip = (row) => view.guards.get(row.stage.key).trips.find((trip) => trip.guard === row.guard);
  const lastStep = (row) => Math.max(...[...view.curves.get(row.stage.key).series.values()].map((part) => part.last[0]));
  const newest = (row) => view.curves.get(row.stage.key).series.get(row.guard)?.last[1] ?? row.value;
  const cell = (value) => make("td", { class: "numeric" }, typeof value === "number" ? shownNumber(value) : value ?? "–");
  const head = ["guard", "now", "value", "limit", "stage", "trips", "last trip"];
  $("guard-rows").replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((word) => make("th", { scope: "col", class: ["value", "limit", "trips"].includes(word) ? "numeric" : "" }, word)))),
    make("tbody", {}, ...rows.map((row) => {
      const last = lastTrip(row);
      const now = row.action && !(row.iteration < lastStep(row)); // a guard may write only when it trips
      return make("tr", { class: now ? "tripped" : row.trips ? "was-tripped" : "" },
        make("th", { scope: "row" }, row.guard.replaceAll("_", " ")), make("td", {}, now ? row.action : "good"), cell(newest(row)),
        cell(row.limit), make("td", {}, row.stage.label), cell(row.trips),
        make("td", {}, last ? `iteration ${last.iteration}: ${last.action} at ${typeof last.value === "number" ? shownNumber(last.value) : last.value ?? "–"}` : "–"));
    }))));
}

// --- samples ---

async function updateSamples() {
  const sources = allStages().filter((stage) => stage.samples);
  $("samples").hidden = !sources.length;
  if (!sources.length) return;
  const held = view.samples;
  const select = $("samples-of");
  const listed = JSON.stringify(sources.map((stage) => stage.key));
  if (select.dataset.listed !== listed) {
    select.dataset.listed = listed;
    select.replaceChildren(...sources.map((stage) => make("option", { value: stage.key }, stage.label)));
    if (!held.chosen) select.value = (sources.find((stage) => stage.state === "running") ?? sources.at(-1)).key;
    else select.value = held.of;
  }
  const stage = sources.find((source) => source.key === select.value) ?? sources.at(-1);
  if (held.of === stage.key && held.size === stage.samples) return;
  const answer = await ask("samples", asked(stage));
  const reading = held.of === stage.key && (held.more || document.querySelector(".sample.open"));
  if (reading) {
    held.waiting = answer; // someone reads: what they see stays
    held.size = stage.samples;
    $("samples-new").hidden = false;
  } else {
    takeSamples(stage.key, stage.samples, answer);
  }
}

function takeSamples(key, size, answer) {
  Object.assign(view.samples, { of: key, size, rows: answer.samples, before: answer.before, waiting: null, more: false });
  $("samples-new").hidden = true;
  showSamples();
}

function showSamples() {
  const { rows, before } = view.samples;
  const order = $("samples-order").value;
  const sign = { newest: 0, high: -1, low: 1 }[order];
  const sorted = sign ? rows.toSorted((a, b) => sign * ((a.score ?? NaN) - (b.score ?? NaN)) || (a.score === null) - (b.score === null)) : rows;
  $("sample-cards").replaceChildren(...sorted.map(sampleCard));
  $("samples-older").hidden = before === null;
}

function sampleCard(sample) {
  const last = sample.prompt.at(-1);
  const opener = make("button", { type: "button", class: "more", "aria-expanded": "false" }, "show all");
  const parts = Object.entries(sample.parts).map(([name, value]) =>
    make("span", { class: "part" }, `${name.replaceAll("_", " ")} ${typeof value === "number" ? shownNumber(value) : value}`));
  const card = make("article", { class: "sample" },
    make("div", { class: "head" },
      sample.score === null ? null : make("b", { class: "score", title: "score" }, shownNumber(sample.score, 3)),
      sample.iteration === null ? null : make("span", {}, `iteration ${shownNumber(sample.iteration)}`),
      ...parts, opener),
    ...sample.prompt.slice(0, -1).map((message) => made(message, "earlier")),
    last ? made(last, "prompt") : sample.prompt_id ? make("p", { class: "absent" }, `prompt ${sample.prompt_id}`) : null,
    make("p", { class: "completion" }, sample.completion || "(empty)"));
  opener.addEventListener("click", () => {
    const open = card.classList.toggle("open");
    opener.setAttribute("aria-expanded", String(open));
    opener.textContent = open ? "show less" : "show all";
  });
  return card;
}
const made = (message, name) => make("p", { class: name }, make("b", {}, message.role), message.content);

// --- results ---

function showResults(drawn) {
  const done = drawn.filter((stage) => stage.results && Object.keys(stage.results).length);
  const names = [...new Set(done.flatMap((stage) => Object.keys(stage.results)))];
  $("results").hidden = !names.length;
  const shown = JSON.stringify(done.map((stage) => [stage.key, stage.results]));
  if (showResults.shown === shown) return;
  showResults.shown = shown;
  $("result-rows").replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, ""), ...done.map((stage) => make("th", { scope: "col" }, stage.label)))),
    make("tbody", {}, ...names.map((name) => make("tr", {},
      make("th", { scope: "row" }, name.replaceAll("_", " ")),
      ...done.map((stage) => make("td", { class: "numeric" }, shownResult(stage.results[name]))))))));
}

const shownResult = (value) => (value === undefined ? "–" : typeof value === "string" ? value : shownNumber(value));

// --- every two seconds ---

async function refresh() {
  try {
    view.state = await ask("state");
    const drawn = drawnStages();
    await Promise.all(drawn.flatMap((stage) => [updateCurves(stage), ...(stage.guards ? [updateGuards(stage)] : [])]));
    showNow();
    showStages(drawn);
    showGuards(drawn);
    showCurves(drawn);
    showResults(drawn);
    await updateSamples();
    $("pulse").textContent = "";
    document.body.dataset.shown = String(Number(document.body.dataset.shown ?? 0) + 1); // for tests
  } catch (error) {
    console.error(error);
    $("pulse").textContent = `· no answer (${error.message}): does camelid watch still run? Trying again.`;
  }
}

async function forever() {
  await refresh();
  const running = view.state?.runs.some((run) => run.state !== "done");
  setTimeout(forever, running && !document.hidden ? EVERY.running : EVERY.quiet);
}

$("samples-of").addEventListener("change", () => {
  view.samples.chosen = true;
  view.samples.of = null;
  updateSamples();
});
$("samples-order").addEventListener("change", showSamples);
$("samples-new").addEventListener("click", () => {
  const { of, size, waiting } = view.samples;
  takeSamples(of, size, waiting);
});
$("samples-older").addEventListener("click", async () => {
  const held = view.samples;
  const stage = allStages().find((one) => one.key === held.of);
  const answer = await ask("samples", { ...asked(stage), before: held.before });
  Object.assign(held, { rows: [...held.rows, ...answer.samples], before: answer.before, more: true });
  showSamples();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
forever();
