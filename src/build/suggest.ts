/** Names further away than this are no typing errors. The same bound as Docker's. */
const maxDistance = 2;

/** ` (did you mean X?)` for the option nearest to what was written, in its letter case; empty where none is near. */
export function didYouMean(written: string, options: readonly string[]): string {
  const lower = options.map((option) => option.toLowerCase());
  const nearest = nearestOf(written.toLowerCase(), lower);
  if (nearest === undefined) return "";
  const option = options[lower.indexOf(nearest)] ?? nearest;
  return ` (did you mean ${matchCase(option, written)}?)`;
}

/** The option nearest to what was written; undefined where none is near, or it is an option as it is. Letter case counts. */
export function nearestOf(written: string, options: readonly string[]): string | undefined {
  let nearest: { option: string; distance: number } | undefined;
  for (const option of options) {
    const distance = editDistance(written, option);
    if (distance === 0) return undefined;
    const closer = distance < (nearest?.distance ?? maxDistance + 1);
    // Of two that are as near, people mean the one that begins alike.
    const alike = distance === nearest?.distance && option[0] === written[0] && nearest.option[0] !== written[0];
    if (closer || alike) nearest = { option, distance };
  }
  return nearest?.option;
}

function matchCase(option: string, written: string): string {
  if (written === written.toLowerCase()) return option.toLowerCase();
  return written === written.toUpperCase() ? option.toUpperCase() : option;
}

/** Levenshtein's distance. */
function editDistance(left: string, right: string): number {
  let above = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    above = current;
  }
  return above[right.length] ?? 0;
}
