// Words of twelve parts of the world that have little to do with each other: nouns, verbs and adjectives of each.
// Data only: it does not know what sentences are made of them.

export interface Domain {
  readonly name: string;
  /** In the order of their sub-topics: neighbours in the list stand in the same sentences. */
  readonly nouns: readonly string[];
  readonly verbs: readonly string[];
  readonly adjectives: readonly string[];
}

const words = (text: string): string[] => text.trim().split(/\s+/);

const domain = (name: string, nouns: string, verbs: string, adjectives: string): Domain => ({
  name,
  nouns: words(nouns),
  verbs: words(verbs),
  adjectives: words(adjectives),
});

export const domains: readonly Domain[] = [
  domain(
    "astronomy",
    "galaxy nebula quasar supernova pulsar telescope observatory lens mirror spectrograph planet moon crater asteroid comet meteor orbit eclipse equinox solstice zodiac rocket satellite probe capsule astronaut gravity photon redshift plasma corona sunspot flare aurora magnetosphere horizon",
    "orbits illuminates eclipses detects magnifies refracts launches tracks ionizes collapses expands radiates",
    "stellar lunar cosmic luminous distant radiant dense spiral binary infrared celestial gaseous",
  ),
  domain(
    "kitchen",
    "flour yeast dough oven crust loaf butter cream whisk custard pastry glaze garlic onion skillet broth simmer ladle noodle ramen tofu miso vinegar pickle radish cabbage pepper cumin saffron curry lentil chutney knife cleaver cutlery apron",
    "kneads bakes fries roasts ferments seasons drizzles chops garnishes marinates steams caramelizes",
    "crispy savory buttery spicy tender bitter toasted creamy salted fragrant raw stewed",
  ),
  domain(
    "sailing",
    "sloop schooner mast rigging halyard anchor harbor pier lighthouse buoy tide reef lagoon coral plankton dolphin whale albatross gull storm gale squall compass sextant rudder keel hull barnacle captain sailor cargo ballast ferry trawler net lobster",
    "anchors sails drifts tows moors capsizes navigates hauls docks furls ballasts trawls",
    "nautical windward leeward briny tidal seaworthy becalmed stormy coastal adrift mooring deepwater",
  ),
  domain(
    "law",
    "statute clause treaty amendment verdict jury judge courtroom plaintiff defendant attorney witness testimony oath evidence affidavit subpoena warrant parole sentence prison bail contract lease landlord tenant eviction deed mortgage inheritance patent trademark copyright license royalty infringement",
    "prosecutes acquits appeals ratifies repeals testifies indicts litigates adjudicates enforces pardons sues",
    "judicial guilty lawful civil criminal binding contractual liable statutory constitutional punitive exempt",
  ),
  domain(
    "garden",
    "rose tulip orchid petal pollen bee hive honey clover meadow fern moss pond lily frog toad newt trellis vine grape orchard apple pear pruner spade compost worm soil mulch seedling greenhouse cucumber tomato basil thyme lavender",
    "blossoms pollinates prunes sprouts wilts climbs sows harvests waters germinates grafts shades",
    "leafy thorny fertile floral evergreen mossy ripe perennial shady blooming rooted sunlit",
  ),
  domain(
    "computing",
    "compiler parser syntax bytecode debugger linker kernel scheduler thread mutex interrupt cache register pipeline transistor wafer router packet firewall protocol socket latency database query index transaction schema replica tensor gradient neuron backpropagation dataset pixel shader renderer",
    "compiles executes allocates encrypts indexes buffers caches schedules parses optimizes serializes renders",
    "recursive parallel binary cached virtual encrypted asynchronous scalable deterministic corrupted idle distributed",
  ),
  domain(
    "medicine",
    "surgeon scalpel suture anesthesia ward nurse fever cough pneumonia lung bronchus oxygen artery heart valve stent cholesterol stroke fracture femur cartilage ligament cast crutch vaccine antibody virus bacteria antibiotic infection insulin pancreas glucose kidney dialysis transplant",
    "diagnoses heals infects injects operates prescribes vaccinates inflames sterilizes clots bandages rehabilitates",
    "chronic acute sterile contagious feverish swollen cardiac surgical benign malignant immune arterial",
  ),
  domain(
    "music",
    "violin cello viola bow string luthier piano organ pedal keyboard sonata fugue chorus soprano tenor baritone aria opera trumpet trombone tuba brass saxophone jazz drum cymbal snare rhythm tempo metronome guitar amplifier microphone album concert encore",
    "plays composes conducts harmonizes rehearses improvises strums sings tunes echoes accompanies performs",
    "melodic sharp flat acoustic harmonic orchestral loud solo rhythmic muted lyrical dissonant",
  ),
  domain(
    "mountains",
    "glacier crevasse moraine icefall serac avalanche summit ridge cornice col couloir peak climber rope carabiner harness piton crampon tent bivouac stove snowshoe ski sled marmot ibex eagle snowfinch lichen edelweiss granite basalt limestone quartz geode cavern",
    "climbs descends belays erodes thaws freezes crumbles ascends traverses shelters slips melts",
    "alpine icy steep rocky snowy jagged vertical remote frozen treacherous rugged windswept",
  ),
  domain(
    "finance",
    "bank loan interest deposit teller vault bond coupon yield maturity treasury auction stock broker dividend portfolio shareholder exchange inflation currency tariff export deficit subsidy tax audit ledger invoice accountant payroll pension annuity insurance premium claim actuary",
    "invests borrows lends hedges audits trades taxes insures amortizes speculates liquidates refinances",
    "fiscal solvent bullish volatile leveraged taxable monetary quarterly bankrupt profitable prepaid insolvent",
  ),
  domain(
    "medieval",
    "castle moat drawbridge portcullis tower dungeon knight lance armor squire joust tournament king queen crown throne scepter heir monk abbey scriptorium parchment quill manuscript peasant plough mill tithe serf manor blacksmith forge anvil sword shield chainmail",
    "besieges crowns forges jousts fortifies conquers swears ransoms guards reigns plunders copies",
    "feudal noble royal chivalrous besieged gilded armored monastic heraldic loyal vanquished ancient",
  ),
  domain(
    "weather",
    "cloud drizzle thunder lightning hail monsoon humidity dew fog mist frost sleet barometer hygrometer thermometer anemometer windvane forecast hurricane cyclone typhoon tornado eyewall surge drought dune heatwave mirage wildfire ember snowfall blizzard icicle snowdrift thaw flood",
    "rains pours evaporates condenses gusts storms parches drenches clears chills scorches floods",
    "humid arid overcast breezy torrential muggy frosty sultry foggy rainy tropical parched",
  ),
];
