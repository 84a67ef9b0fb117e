import { constants } from "node:os";
import { EngineError } from "../common/index.ts";

/** `SIGTERM`, `term`, `15` → 15. Throws in Docker's words. Real-time signals are `SIGRTMIN+N`. */
export function parseSignal(text: string): number {
  if (/^\d{1,2}$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= 64) return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, "");
  const realTime = /^RTMIN\+(\d{1,2})$/.exec(name);
  if (realTime && Number(realTime[1]) <= 30) return 34 + Number(realTime[1]);
  const number = (constants.signals as Record<string, number>)[`SIG${name}`];
  if (number === undefined) throw new EngineError("invalidArgument", `Invalid signal: ${text}`);
  return number;
}
