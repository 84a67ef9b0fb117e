/** What one thing took on one engine, sample by sample, in milliseconds unless the title says otherwise. */
export interface Series {
  readonly engine: string;
  readonly samples: readonly number[];
}

/** One benchmark's outcome; `target` is what the project wants of the first series' median. */
export interface Figure {
  readonly title: string;
  readonly unit: "ms" | "MB";
  readonly series: readonly Series[];
  readonly target?: { readonly atMost: number } | { readonly ratioAtMost: number };
  /** Said under the table: what was left out, or how it was measured. */
  readonly remarks?: readonly string[];
}

export function percentile(samples: readonly number[], fraction: number): number {
  const sorted = [...samples].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 0.5);
}

/** What one leaves behind for the kernel and for its background work must not be counted against the next. */
const settleMs = 100;

/**
 * Times each contestant in turn, round by round, so that what else the machine does meets all of them alike. `inRow` runs are
 * taken one after the other within a turn, which measures an engine that is at work rather than one that was just woken.
 */
export async function interleaved(
  contestants: Readonly<Record<string, () => Promise<unknown>>>,
  options: { rounds: number; inRow?: number; warmUps?: number },
): Promise<Series[]> {
  const samples = new Map(Object.keys(contestants).map((name) => [name, [] as number[]]));
  for (let round = -(options.warmUps ?? 2); round < options.rounds; round++) {
    for (const [name, work] of Object.entries(contestants)) {
      await Bun.sleep(settleMs);
      for (let run = 0; run < (options.inRow ?? 1); run++) {
        const begin = performance.now();
        await work();
        if (round >= 0) samples.get(name)?.push(performance.now() - begin);
      }
    }
  }
  return [...samples].map(([engine, taken]) => ({ engine, samples: taken }));
}

/** A table for people: median, ninth decile, and how many times the first one's median each other takes. */
export function formatFigure({ title, unit, series, target, remarks = [] }: Figure): string {
  const [first, ...others] = series;
  const own = median(first?.samples ?? []);
  const lines = series.map(({ engine, samples }) => {
    const middle = median(samples);
    const ratio = engine === first?.engine ? "" : `  ${(middle / own).toFixed(1)} ×`;
    const spread = samples.length > 1 ? `  p90 ${percentile(samples, 0.9).toFixed(1).padStart(8)}` : "";
    return `  ${engine.padEnd(22)} ${middle.toFixed(middle < 10 ? 2 : 1).padStart(9)} ${unit}${spread}${ratio}`;
  });
  return [title, ...lines, ...verdict(own, others, target), ...remarks.map((remark) => `  (${remark})`), ""].join("\n");
}

function verdict(own: number, others: readonly Series[], target: Figure["target"]): string[] {
  if (!target) return [];
  if ("atMost" in target) {
    return [`  target: at most ${target.atMost}: ${own <= target.atMost ? "met" : "MISSED"}`];
  }
  const peer = others[0];
  const share = target.ratioAtMost === 1 ? "as much as" : `1/${Number((1 / target.ratioAtMost).toFixed(1))} of`;
  if (!peer) return [`  target: at most ${share} the peer: NOT MEASURED, no peer`];
  const met = own <= target.ratioAtMost * median(peer.samples);
  return [`  target: at most ${share} ${peer.engine}: ${met ? "met" : "MISSED"}`];
}
