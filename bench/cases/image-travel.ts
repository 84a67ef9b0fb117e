import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { startTestEngine, waitFor } from "../../test/support/test-engine.ts";
import { median, type Figure, type Series } from "../figures.ts";
import { peakMegabytes, resetPeak } from "../memory.ts";
import { processorSeconds } from "../processor-time.ts";
import { run } from "../programs.ts";
import type { Stage } from "../stage.ts";
import { makeTravelArchive, travelImage } from "../travel-image.ts";
import { freePort } from "../../test/support/free-port.ts";

const rounds = 3;
const pingEveryMs = 5;
const steps = ["load", "save", "push", "pull"] as const;
type Step = (typeof steps)[number];

interface Contestant {
  readonly name: string;
  readonly socket: string;
  readonly pid: number;
  /** Where the registry is, from there. */
  readonly registry: string;
  readonly isUnsynced?: boolean;
}

interface Sample {
  readonly ms: number;
  /** MB. */
  readonly peak: number;
  /** Milliseconds. */
  readonly ping: number;
  /** Seconds. */
  readonly computed: number;
  /** Processes that ran or wanted to, over the last minute (proc_loadavg(5)). */
  readonly load: number;
}

interface Travels {
  readonly series: Readonly<Record<Step, Series[]>>;
  readonly remarks: Readonly<Record<Step, string[]>>;
}

const known = new WeakMap<Stage, Promise<Travels>>();
const targets: Readonly<Record<Step, number>> = { load: 1 / 2, pull: 1 / 2, push: 1 / 1.5, save: 1 / 1.5 };

const figureOf =
  (step: Step, what: string) =>
  async (stage: Stage): Promise<Figure> => {
    let travels = known.get(stage);
    if (!travels) known.set(stage, (travels = travel(stage)));
    const { series, remarks } = await travels;
    const { layers, files, megabytes } = travelImage;
    const title = `${what}: ${layers} layers, ${files} files, ${megabytes} MB`;
    return { title, unit: "ms", series: series[step], target: { ratioAtMost: targets[step] }, remarks: remarks[step] };
  };

export const imageLoad = figureOf("load", "Load of a docker-archive");
export const imageSave = figureOf("save", "Save of the image that was loaded");
export const imagePush = figureOf("push", "First push of the image that was loaded, to docker-registry on loopback");
export const imagePull = figureOf("pull", "Pull from docker-registry on loopback");

/**
 * Every round has images of its own and deletes nothing: ext4 passes over inodes that were freed a moment ago, one by one, which would
 * cost whoever comes next more than the unpacking.
 */
async function travel({ engine, dockerd, folder }: Stage): Promise<Travels> {
  await using cleanUp = new AsyncDisposableStack();
  const data = join(folder, "registry");
  const port = await freePort();
  const registry = `127.0.0.1:${port}`;
  cleanUp.use(await startRegistry({ data, registry, inNamespaceOf: undefined }));
  const contestants: Contestant[] = [{ name: "vitrine", socket: engine.socket, pid: engine.pid, registry }];
  if (typeof dockerd !== "string") {
    cleanUp.use(await startRegistry({ data, registry, inNamespaceOf: dockerd.pid }));
    contestants.push({ name: dockerd.name, socket: dockerd.socket, pid: dockerd.pid, registry });
  }
  const unsynced = cleanUp.use(await startWithoutSync(folder));
  contestants.push({
    name: "vitrine, unsynced",
    socket: unsynced.socket,
    pid: unsynced.pid,
    registry,
    isUnsynced: true,
  });
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < rounds; round++) {
    const pulled = `pulled${round}`;
    const source = await makeTravelArchive(folder, pulled);
    await run([
      "skopeo",
      "copy",
      "-q",
      "--dest-tls-verify=false",
      `docker-archive:${source}`,
      `docker://${registry}/${pulled}`,
    ]);
    const loaded = `loaded${round}`;
    const archive = await makeTravelArchive(folder, loaded);
    for (const step of steps) {
      for (const contestant of contestants) {
        if (contestant.isUnsynced && step !== "load" && step !== "pull") continue;
        await run(["sync"]);
        const taken = await watched(contestant, () => take(step, contestant, { archive, loaded, pulled }));
        const key = `${step} ${contestant.name}`;
        samples.set(key, [...(samples.get(key) ?? []), taken]);
      }
    }
  }
  const of = (step: Step, { name }: Contestant) => samples.get(`${step} ${name}`) ?? [];
  const taking = (step: Step) => contestants.filter((one) => of(step, one).length > 0);
  return {
    series: each((step) =>
      taking(step).map((one) => ({ engine: one.name, samples: of(step, one).map(({ ms }) => ms) })),
    ),
    remarks: each((step) =>
      taking(step).map((one) => {
        const peak = Math.max(...of(step, one).map((sample) => sample.peak));
        const ping = Math.max(...of(step, one).map((sample) => sample.ping));
        const computed = median(of(step, one).map((sample) => sample.computed));
        const loads = of(step, one).map((sample) => sample.load.toFixed(1));
        return `${one.name}: ${computed.toFixed(1)} s of processor time, daemon's peak ${peak.toFixed(0)} MB, slowest answer to a ping meanwhile ${ping.toFixed(0)} ms; load averages ${loads.join(", ")}`;
      }),
    ),
  };
}

function each<Value>(value: (step: Step) => Value): Record<Step, Value> {
  return { load: value("load"), save: value("save"), push: value("push"), pull: value("pull") };
}

async function take(
  step: Step,
  { socket, registry, name }: Contestant,
  { archive, loaded, pulled }: { archive: string; loaded: string; pulled: string },
): Promise<void> {
  // Each pushes into a repository of its own, to which no other's blobs are known.
  const repository = `${registry}/${name.replaceAll(/[^a-z]/g, "")}/${loaded}`;
  if (step === "load") return drain(socket, "POST", "/images/load?quiet=1", Bun.file(archive));
  if (step === "save") return drain(socket, "GET", `/images/get?names=${loaded}`);
  if (step === "pull") return drain(socket, "POST", `/images/create?fromImage=${registry}/${pulled}&tag=latest`);
  await drain(socket, "POST", `/images/${loaded}/tag?repo=${repository}&tag=latest`);
  return drain(socket, "POST", `/images/${repository}/push?tag=latest`);
}

/** Reads the whole answer; throws what it says went wrong. */
async function drain(socket: string, method: string, path: string, body?: Blob): Promise<void> {
  const headers = { "X-Registry-Auth": "e30=" };
  const options = { unix: socket, method, headers, timeout: false, ...(body ? { body } : {}) };
  const response = await fetch(`http://engine${path}`, options as RequestInit);
  let last = "";
  for await (const chunk of response.body ?? []) if (chunk.length < 4096) last = Buffer.from(chunk).toString("utf8");
  if (!response.ok || last.includes('"error"')) throw new Error(`${method} ${path}: ${last}`);
}

/** The time that it takes, and the daemon's memory and slowest answer meanwhile. */
async function watched({ socket, pid }: Contestant, work: () => Promise<void>): Promise<Sample> {
  resetPeak(pid);
  const computedBefore = processorSeconds(pid);
  let ended = false;
  let ping = 0;
  const pings = (async () => {
    while (!ended) {
      const asked = performance.now();
      await (await fetch("http://engine/_ping", { unix: socket })).text();
      ping = Math.max(ping, performance.now() - asked);
      await Bun.sleep(pingEveryMs);
    }
  })();
  const begin = performance.now();
  try {
    await work();
  } finally {
    ended = true;
  }
  const ms = performance.now() - begin;
  const [load = 0] = loadavg();
  await pings;
  return { ms, peak: peakMegabytes(pid), ping, computed: processorSeconds(pid) - computedBefore, load };
}

/** An engine whose sync(1) does nothing, as dockerd syncs nothing. */
async function startWithoutSync(folder: string): ReturnType<typeof startTestEngine> {
  const programs = join(folder, "programs");
  mkdirSync(programs);
  symlinkSync("/bin/true", join(programs, "sync"));
  const before = process.env.PATH;
  process.env.PATH = `${programs}:${before}`;
  try {
    return await startTestEngine();
  } finally {
    process.env.PATH = before;
  }
}

async function startRegistry(options: {
  data: string;
  registry: string;
  inNamespaceOf: number | undefined;
}): Promise<AsyncDisposable> {
  const { data, registry, inNamespaceOf } = options;
  mkdirSync(data, { recursive: true });
  const config = join(data, "config.yml");
  const storage = { filesystem: { rootdirectory: join(data, "data") } };
  // JSON is YAML.
  writeFileSync(
    config,
    JSON.stringify({ version: "0.1", log: { level: "error" }, storage, http: { addr: registry, secret: "bench" } }),
  );
  const inside = inNamespaceOf === undefined ? [] : ["nsenter", "-t", String(inNamespaceOf), "-n"];
  const server = Bun.spawn([...inside, "docker-registry", "serve", config], { stdio: ["ignore", "ignore", "ignore"] });
  await waitFor("docker-registry to listen", async () => {
    if (server.exitCode !== null) throw new Error(`docker-registry ended with ${server.exitCode}`);
    const probe = Bun.spawn([...inside, "curl", "-sf", `http://${registry}/v2/`], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    return (await probe.exited) === 0;
  });
  return {
    async [Symbol.asyncDispose]() {
      server.kill();
      await server.exited;
    },
  };
}
