import { EngineError } from "../common/index.ts";
import { errnoName, errnoText } from "../kernel/index.ts";
import type { Plan } from "../spec/index.ts";
import type { OpReport } from "./frames.ts";
import { planFailure } from "./plan-failure.ts";

/** The error behind a `failed` frame (op index, errno, detail). The reports so far are in its `data`, for a trace of the failed start. */
export function failureOf(
  plan: Plan,
  failed: { fields: readonly string[]; reports: readonly OpReport[] },
): EngineError {
  const [index, errnoField, detail = ""] = failed.fields;
  const errno = Number(errnoField);
  const op = plan.ops[Number(index)];
  const data = { reports: [...failed.reports] };
  if (op) return planFailure(op, errno, { index: Number(index), detail, data });
  // The plan itself was refused, or the monitor failed before the first op.
  const message = `The monitor could not begin: ${detail || errnoText(errno)} (${errnoName(errno)})`;
  return new EngineError("internal", message, { data: { ...data, errno, errnoName: errnoName(errno), detail } });
}
