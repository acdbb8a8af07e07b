// A text of many kinds that ships with Irori: what a rounding of weights or inputs costs is measured on it.
// Written for this purpose; nothing reads its meaning.

export const SAMPLE_TEXT = `The hearth in the middle of the room had burned since before anyone could remember. In the evening the grandmother laid two pieces of oak across the coals, not for warmth, because it was June, but because a house without a fire was, in her opinion, only a roof. The children sat on the side away from the smoke. They had learned early which side that was: the wind came down the valley at dusk and turned at the corner of the barn, and whoever forgot it went to bed with red eyes.

"Tell us about the year of the two winters," said the youngest, who was four and wanted every story to have snow in it.

"There were no two winters," the grandmother said. "There was one winter, and it came back to fetch something it had left behind."

A lake freezes from the edge inward, because the water there is shallow and loses its heat first. Ice floats because it is less dense than the water below it; if it sank, lakes would freeze from the bottom up and few fish would survive a cold January. At four degrees Celsius water is at its densest, so the deepest layer of a frozen lake stays at about that temperature all winter. Most substances behave the other way round, and that water does not is one of the small accidents on which a great deal depends.

The city council met on Tuesday to discuss the new bridge. The estimate of 4.2 million had grown to 5.9 million, chiefly because of the price of steel, which rose by 31 per cent between March and November. Three members voted against the plan, eleven for it, and one abstained because her brother owns land on the northern bank. Construction is expected to begin in the spring of next year and to last about eighteen months; during that time traffic will be led over the old bridge in one lane.

To make the soup, peel and chop two onions, a carrot and a stick of celery. Fry them gently in three tablespoons of olive oil for ten minutes without letting them brown. Add 250 g of red lentils, a bay leaf and a litre and a half of stock, bring it to the boil and let it simmer, half covered, for twenty-five minutes. Season with salt, pepper and the juice of half a lemon. It keeps for four days in the refrigerator and tastes better on the second.

function median(values) {
  if (values.length === 0) throw new Error("the median of nothing");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

The median is less easily moved by a few wild values than the mean is: of the numbers 3, 4, 4, 5 and 90 the mean is 21.2 and the median 4. A clock that is stopped is right twice a day, but a mean that is pulled away by one bad reading may be right never. When a measurement is repeated, it is good manners to say how often, and to show the smallest and the largest result beside the one that is quoted.

Dear Ms. Okafor,

Thank you for your letter of 12 May. I am sorry to hear that the second volume arrived with pages 113 to 128 bound upside down. A new copy left our warehouse this morning and should reach you before the end of the week; please keep the faulty one, or give it to somebody with a sense of humour. If anything else is amiss, write to me directly.

With kind regards,
Jonas Lindqvist

Photosynthesis turns carbon dioxide and water into sugar and oxygen, with light as the source of energy. In plants it happens in chloroplasts, whose green pigment, chlorophyll, absorbs red and blue light well and green light badly, which is why leaves look green. The reactions that need light take place in the thylakoid membranes; those that build sugar, known as the Calvin cycle, take place in the stroma and can go on in the dark as long as there is enough ATP and NADPH.

囲炉裏は、日本の古い家の床を四角に切って作られた炉である。冬は部屋を暖め、料理をし、家族がその周りに集まって話をした。火は一日中消えることがなく、夜は灰をかけて種火を残した。朝になると灰を除き、細い枝を載せて息を吹きかけると、火はまた静かに燃え始めた。今では囲炉裏のある家は少ないが、その前に座ると、人は自然に声を低くする。

1. Read the whole form before you fill it in.
2. Write in capital letters and use black ink.
3. Do not sign in the field marked "office use only".
4. Send the original; keep a copy.

Q: Which is farther from the equator, Oslo or Helsinki?
A: Helsinki lies at 60.2 degrees north and Oslo at 59.9, so Helsinki is a little farther north, though many people guess the other way.

She closed the book and listened. Somewhere below, a door opened and was shut again with care, as one shuts a door when somebody else is asleep. Then nothing: the tick of the stove as it cooled, the rain that had turned to drizzle, her own breath. It is strange, she thought, how much of listening is deciding what not to hear. She counted to a hundred, as her father had taught her to do before acting on fear or anger, and at sixty-three she understood that she was no longer afraid.
`;
