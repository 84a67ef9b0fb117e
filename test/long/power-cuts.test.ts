// A virtual machine loses its power at random moments of pull, load, commit and prune; the next boot looks at what its disk has.
// VITRINE_POWER_SEED repeats a run's moments, VITRINE_POWER_CUTS says how many.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { installPackages } from "../../scripts/require-programs.ts";
import { findKernel } from "../../scripts/vm/kernel.ts";
import { runMachine } from "../../scripts/vm/machine.ts";
import { writeRoot } from "../../scripts/vm/root.ts";
import { shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";
import { projectRoot } from "../support/test-engine.ts";

setDefaultTimeout(1_800_000);

const cuts = Number(process.env.VITRINE_POWER_CUTS ?? 5);
const seed = process.env.VITRINE_POWER_SEED ?? crypto.randomUUID().slice(0, 8);
const bootLimitMs = 240_000;
/** A boot that the emulation lets hang is no cut. */
const bootTries = 3;
const scratch = newScratch();
const initramfs = join(scratch.path, "initramfs.cpio");
const disk = join(scratch.path, "disk");
afterAll(() => scratch[Symbol.asyncDispose]());

beforeAll(async () => {
  const missing = [
    ...(Bun.which("qemu-system-x86_64") ? [] : ["qemu-system-x86"]),
    ...(findKernel() ? [] : ["linux-image-cloud-amd64"]),
  ];
  if (missing.length > 0) await installPackages(missing);
  const kernel = findKernel();
  if (!kernel) throw new Error("There is no kernel /boot/vmlinuz-*-cloud-amd64: install linux-image-cloud-amd64");
  writeRoot(initramfs, { project: projectRoot, kernel, bun: process.execPath });
  shell(scratch.path, `truncate -s 512M ${disk}; mkfs.ext4 -q ${disk}`);
}, 300_000);

/** The `count`-th of numbers that look random, from 0 to 1. */
const random = (count: number): number =>
  createHash("sha256").update(`${seed} ${count}`).digest().readUInt32BE(0) / 2 ** 32;

interface Boot {
  readonly status: number | undefined;
  /** What the guest said, without its `power: `. */
  readonly said: readonly string[];
}

/** When the power goes: so long after the guest has begun its `change`-th change. Changes, since machines differ in speed. */
interface Cut {
  readonly change: number;
  readonly delayMs: number;
}

async function boot(parameters: Record<string, string>, cut?: Cut): Promise<Boot> {
  const said: string[] = [];
  const power = new AbortController();
  let changes = 0;
  const status = await runMachine({
    kernelImage: findKernel()?.image ?? "",
    initramfs,
    disk,
    parameters: { "vitrine.program": "/project/test/fixtures/power-cut-guest.ts", ...parameters },
    memoryMebibytes: 1536,
    cpus: 2,
    limitMs: bootLimitMs,
    cut: power.signal,
    onLine(line) {
      const words = /^power: (.*)$/.exec(line)?.[1];
      if (words === undefined) return;
      said.push(words);
      if (/^(making|removing) /.test(words) && ++changes === cut?.change) setTimeout(() => power.abort(), cut.delayMs);
    },
  });
  return { status, said };
}

/** Images whose answer had come and whose removal had not begun. */
function thereAfter(expected: ReadonlySet<string>, said: readonly string[]): Set<string> {
  const there = new Set(expected);
  for (const words of said) {
    const [what, reference = ""] = words.split(" ");
    if (what === "there") there.add(reference);
    else if (what === "removing") there.clear();
  }
  return there;
}

test(`${cuts} power cuts (seed ${seed}): what was reported as there is whole, and the store is sound`, async () => {
  console.log(`VITRINE_POWER_SEED=${seed}`);
  let expected: ReadonlySet<string> = new Set();
  let seen = 0;
  for (let round = 0; round <= cuts; round++) {
    const isLast = round === cuts;
    const cut = { change: 2 + Math.floor(random(2 * round) * 9), delayMs: Math.round(random(2 * round + 1) * 1200) };
    const parameters = {
      "vitrine.expected": [...expected].join(","),
      "vitrine.round": String(round),
      ...(isLast ? { "vitrine.only": "verify" } : {}),
    };
    let ran = await boot(parameters, isLast ? undefined : cut);
    for (let tries = 1; ran.said.length === 0 && tries < bootTries; tries++)
      ran = await boot(parameters, isLast ? undefined : cut);
    expect(ran.said.filter((words) => words.startsWith("problem:"))).toEqual([]);
    expect(ran.said[0] ?? "the machine did not boot").toStartWith("sound with");
    if (isLast) expect(ran.status).toBe(0);
    else
      console.log(
        `round ${round}: the power went ${cut.delayMs} ms into change ${cut.change}, after "${ran.said.at(-1)}"`,
      );
    expected = thereAfter(expected, ran.said);
    seen += ran.said.filter((words) => words.startsWith("there")).length;
  }
  // Else nothing was at stake.
  expect(seen).toBeGreaterThanOrEqual(cuts);
});
