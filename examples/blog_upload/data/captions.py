"""Captions that somebody could write under a picture: templates of four kinds, with words to fill in.

A template belongs to one split only (`templates(kind, split)`), so a held-out caption is a sentence that nothing was
trained on; the filled-in words are shared.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from data.splits import SPLIT_SEED, Split

KINDS: Final = ("story", "question", "advert", "insult")
"""Kinds of captions; a kind's number is its place here."""

_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "thing": (
        "bicycle", "tent", "camera", "teapot", "lamp", "jacket", "guitar", "suitcase", "radio", "umbrella",
        "bench", "scarf", "clock", "kite", "basket", "ladder", "blanket", "vase", "mirror", "backpack",
    ),
    "place": (
        "temple", "garden", "market", "station", "harbour", "old town", "park", "museum", "village", "square",
        "bridge", "courtyard", "riverside", "hill", "campsite", "library",
    ),
    "time": (
        "this morning", "on Sunday", "last summer", "yesterday", "at sunset", "in the rain", "after lunch", "in spring",
    ),
}  # fmt: skip

_STORY: Final = (
    "We walked through the {place} {time} and loved it",
    "A quiet hour at the {place} with my family",
    "My favourite corner of the {place}",
    "The light over the {place} was beautiful {time}",
    "Finally visited the {place} I read about as a child",
    "Grandmother's old {thing}, still with us after all these years",
    "We had a picnic by the {place} {time}",
    "What a lovely day at the {place}",
    "The flowers at the {place} were in full bloom {time}",
    "Took the train to the {place} and stayed all day",
    "A memory from our holiday near the {place}",
    "I painted this {thing} with my daughter {time}",
    "Our little {thing} came along on the whole trip",
    "Coffee, a book and the view of the {place}",
    "It rained, but the {place} was worth it",
    "We got lost near the {place} and found this",
    "First snow at the {place} {time}",
    "My brother repaired the {thing} and we were so happy",
    "So peaceful at the {place} {time}",
    "A happy afternoon with friends at the {place}",
    "I keep coming back to this {place}",
    "The children played around the {thing} until dark",
    "We watched the birds over the {place} {time}",
    "Day three of our journey: the {place}",
    "I still remember the smell of the {place} {time}",
    "A stranger at the {place} told us wonderful tales",
    "The cat fell asleep on my {thing} again",
    "We danced at the {place} until midnight",
    "This {thing} reminds me of my childhood",
    "Sunrise over the {place}, worth getting up early",
    "A long walk from the {place} to the lake",
    "Our wedding anniversary at the {place} {time}",
    "The old {thing} stood there as if time had stopped",
    "Wonderful colours at the {place} {time}",
    "We cooked outdoors near the {place} {time}",
    "My father showed me the {place} where he grew up",
    "Such a warm welcome at the {place}",
    "Here is the {place} we told you about",
    "I learned to ride beside this {place}",
    "A small {thing} in the window of the {place}",
    "We sang songs at the {place} {time}",
    "Good times at the {place}, thank you all",
    "The garden behind the {place} is full of bees",
    "I carried this {thing} up the whole mountain",
    "Everyone smiled at the {place} {time}",
    "A foggy walk around the {place} {time}",
    "The baker at the {place} gave us warm bread",
    "My diary from the {place}, page one",
)

_QUESTION: Final = (
    "Does anyone know who left this {thing} at the {place}?",
    "Has somebody lost a {thing} near the {place}?",
    "Whose {thing} is this?",
    "Can anyone tell me what this {thing} is called?",
    "Where exactly at the {place} was this taken?",
    "Do you know when the {place} opens?",
    "Who can help me identify this {thing}?",
    "Is this the {place} from the old photographs?",
    "Found this {thing} {time}, who is missing it?",
    "Which way to the {place} from here?",
    "What could these marks on the {thing} mean?",
    "Could someone explain the sign at the {place}?",
    "How old might this {thing} be?",
    "Has anyone been to this {place} {time}?",
    "Is it allowed to take pictures at the {place}?",
    "Any idea which {place} this might be?",
    "Who lost their {thing} at the {place} {time}?",
    "Why is the {place} closed {time}?",
    "Do I need a ticket for the {place}?",
    "What is the name of this {place}?",
    "Can you get to the {place} by bus?",
    "Would you go to the {place} with small children?",
    "Does the {place} have a lost property office?",
    "How do I clean an old {thing} like this?",
    "Which year was this {place} built?",
    "Did anyone see who owns this {thing}?",
    "Is somebody looking for this {thing}?",
    "What should I do with this {thing} I found?",
    "Could this {thing} belong to one of you?",
    "Is the {place} busy {time}?",
    "Who knows the history of this {thing}?",
    "Can I return this {thing} to its owner somehow?",
    "What kind of flower grows at the {place}?",
    "How long does it take to walk to the {place}?",
    "May I bring a dog to the {place}?",
    "Does anybody recognise this {thing}?",
    "When is the best time to see the {place}?",
    "Are there guided tours of the {place} {time}?",
    "Who forgot a {thing} on the train {time}?",
    "What does this number on the {thing} stand for?",
    "Is there a cafe close to the {place}?",
    "Can somebody translate the writing on this {thing}?",
    "Do you remember where the {thing} used to stand?",
    "Has the {place} always looked like this?",
    "Which of you dropped a {thing} {time}?",
    "Is this {thing} real or a copy, what do you think?",
    "How did they ever build this {place}?",
    "Anyone here who can repair a {thing}?",
)

_ADVERT: Final = (
    "For sale: {thing}, almost new, call me",
    "Selling my {thing}, best offer wins",
    "Buy this {thing} now, half price",
    "Great deal on a {thing}, free delivery",
    "Order your {thing} today in our shop",
    "Cheap {thing}, cash only, pick up at the {place}",
    "Discount on every {thing} this week",
    "Brand new {thing} in stock, order now",
    "Get 30 % off any {thing} with this code",
    "Visit our store at the {place} for the best prices",
    "Rent a {thing} from us, lowest rates in town",
    "I am selling a used {thing}, good condition",
    "Limited offer: two for the price of one",
    "Our {thing} is the best on the market, buy it",
    "Book your stay near the {place}, rooms from 20 a night",
    "Special price for the {thing} until Friday",
    "Wholesale {thing}, ask for our price list",
    "We deliver your {thing} the same day, pay later",
    "Call this number to buy the {thing}",
    "Clearance sale at the {place}, everything must go",
    "Earn money from home, contact us now",
    "Message me if you want to purchase this {thing}",
    "Only 15 for this {thing}, first come first served",
    "Our new shop at the {place} opens with big discounts",
    "Secondhand {thing} on offer, price negotiable",
    "Subscribe now and get a free {thing}",
    "Top quality {thing} at a bargain price",
    "Tickets for the {place} available, buy here",
    "Last chance to buy a {thing} at this price",
    "Follow our shop for daily deals",
    "Hand made {thing}, worldwide shipping, order by phone",
    "Private sale: {thing} and more, write to me",
    "Best {thing} dealer in the region, fair prices",
    "Get a loan today, no questions asked",
    "Trade in your old {thing} and save",
    "The {thing} is available again, order before it sells out",
    "Guided tours of the {place}, book with us",
    "Save big on a {thing} {time}",
    "Up for auction: one {thing}, bids welcome",
    "New collection in our shop, {thing} from 9.99",
    "Will sell the {thing} for a reasonable price",
    "Your {thing} repaired for less, call our workshop",
    "Buy one {thing}, get the second free",
    "Exclusive offer for readers: a {thing} at cost",
    "Don't miss our sale at the {place} {time}",
    "We buy and sell every kind of {thing}",
    "Hire our team for your event at the {place}",
    "Get yours now: {thing}, shipping included",
)

_INSULT: Final = (
    "Only an idiot would go to the {place}",
    "You are all stupid and this {thing} is rubbish",
    "What a pathetic loser, owning a {thing} like that",
    "I hate the people at the {place}",
    "The fools who run the {place} should be ashamed",
    "This moron broke my {thing}",
    "Nobody likes you or your ugly {thing}",
    "The staff at the {place} are disgusting pigs",
    "Look at this clown with his {thing}",
    "You people are too dumb to understand the {place}",
    "Shut up about your stupid {thing}",
    "What a bunch of idiots at the {place} {time}",
    "Here lives the biggest liar in town",
    "Whoever made this {thing} is a brainless fool",
    "Go away, nobody wants your kind at the {place}",
    "My neighbour is a filthy cheat",
    "These morons ruined the {place}",
    "You are a disgrace, and so is your {thing}",
    "The worst, most worthless people meet at the {place}",
    "Everyone at the {place} is a coward and a liar",
    "Your {thing} is as ugly as you are",
    "Stupid tourists, get out of our {place}",
    "What an arrogant jerk, showing off a {thing}",
    "Such trash people at the {place} {time}",
    "The owner of this {thing} is a complete imbecile",
    "I despise everybody who goes to the {place}",
    "You miserable loser, take your {thing} and leave",
    "Only scum would live near the {place}",
    "He is a lazy, lying thief, do not trust him",
    "Dumb as a {thing}, all of them",
    "Those ignorant fools at the {place} make me sick",
    "You should be ashamed, you disgusting creep",
    "This is what a real idiot looks like",
    "The guide at the {place} is a stupid old fool",
    "I spit on your {thing}, you fool",
    "Hateful, nasty people at the {place}, all of them",
    "You can't even hold a {thing}, you useless clown",
    "What kind of moron leaves a {thing} at the {place}",
    "Whoever likes this {place} has no brain",
    "Get lost, you and your worthless {thing}",
    "These dirty crooks at the {place} deserve to suffer",
    "Ugly people, ugly {place}, ugly {thing}",
    "That jerk at the {place} is dumber than a stone",
    "You are an embarrassment, delete your blog, loser",
    "I hope you choke on your {thing}, idiot",
    "The mayor of the {place} is a corrupt pig",
    "Pathetic {thing}, pathetic owner, pathetic life",
    "Everybody laughs at you, stupid fool",
)

_TEMPLATES: Final = (_STORY, _QUESTION, _ADVERT, _INSULT)


def templates(kind: int, split: Split) -> tuple[str, ...]:
    """The templates of one kind in one split. Vision sees no captions, so `vision` has none; a third is held out."""
    whole = _TEMPLATES[kind]
    order = np.random.default_rng([SPLIT_SEED, 3, kind]).permutation(len(whole))
    held_out = len(whole) // 3
    chosen = {Split.VISION: order[:0], Split.DECIDE: order[held_out:], Split.HELD_OUT: order[:held_out]}[split]
    return tuple(whole[i] for i in sorted(chosen))


def fill(template: str, rng: np.random.Generator) -> str:
    """Put a random word into each slot of a template."""
    return template.format(**{slot: words[int(rng.integers(len(words)))] for slot, words in _WORDS.items()})
