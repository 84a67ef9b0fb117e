/** Of engine, helper and command line alike: they are one release. A test holds it equal to package.json's. */
export const vitrineVersion = "0.1.0";
