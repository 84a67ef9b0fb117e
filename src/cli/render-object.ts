import { GoTemplate, TemplateError, toJson } from "./go-template/index.ts";
import { UsageError } from "./usage-error.ts";

/** One object by `--format`: `json` or a template. Throws UsageError; 64 is docker's exit code for a bad template. */
export async function renderObject(format: string, object: unknown): Promise<string> {
  if (format === "json") return toJson(object);
  try {
    return new GoTemplate(format).execute(object);
  } catch (thrown) {
    if (thrown instanceof TemplateError) throw new UsageError(`template parsing error: ${thrown.message}`, 64);
    throw thrown;
  }
}
