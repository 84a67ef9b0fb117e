// Names that the engine makes up: adjective_surname, as Docker does, from people who made computing what it is.
const adjectives =
  `able agile amber apt bold brave bright brisk calm candid clear clever cool cosy crisp daring deft eager early earnest
easy elated fair famous fearless festive fine fluent fond frank fresh gallant gentle gifted glad golden graceful grand happy hardy
honest hopeful humble jolly jovial keen kind lively loyal lucid lucky mellow merry mighty modest neat nimble noble optimistic patient
peaceful placid polite proud quick quiet quirky rapid ready relaxed serene sharp silent sincere smart snug steady sturdy sunny sweet
swift tender thankful tidy trusty upbeat valiant vibrant vivid warm wise witty zealous zen`.split(/\s+/);

const surnames =
  `allen babbage backus bartik berners_lee boole borg cerf chomsky church clarke codd cray curie dijkstra diffie easley
einstein engelbart erdos euler feynman floyd franklin galileo gauss goldberg gosling hamilton hamming hellman hilbert hoare hopper
hypatia johnson jones kay kernighan kepler kilby knuth lamarr lamport leibniz liskov lovelace mccarthy mcilroy meitner minsky moore
naur neumann newton noether nygaard pasteur perlman pike postel ramanujan rivest ritchie sammet shamir shannon shirley stallman
stonebraker stroustrup sutherland tarjan tesla thompson torvalds turing vaughan wilkes wing wirth wozniak yonath zuse`.split(
    /\s+/,
  );

function pick(words: readonly string[]): string {
  return words[Math.floor(Math.random() * words.length)] ?? "nameless";
}

/** A free name; after ten taken ones a digit is added, so that it always ends. */
export function generateName(isTaken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const name = `${pick(adjectives)}_${pick(surnames)}${attempt < 10 ? "" : attempt}`;
    if (!isTaken(name)) return name;
  }
}
