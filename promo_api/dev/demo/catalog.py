"""The companies of the demo and their promos: the main company here, the others in two further modules."""

from promo_api.dev.demo.catalog_goods import GOODS
from promo_api.dev.demo.catalog_leisure import LEISURE
from promo_api.dev.demo.offers import Offer, Shop

_COFFEE = ("coffee", "food")

# Its sign-in is printed by the command.
MAIN = Shop(
    "Northbean Coffee",
    "owner@northbean.example",
    "NB",
    0.4,
    (
        "the beans smell amazing",
        "the barista was very kind",
        "the filter coffee is the best in town",
        "my order arrived the next morning",
        "the oat flat white is perfect",
        "the pastries are worth the walk",
        "the new shop is really cosy",
        "the decaf tastes like real coffee",
    ),
    (
        Offer(
            "20% off any bag of beans, in our shops and online.", "BEANS20", 6000, 3900, (*_COFFEE, "beans"),
            starts=-31, max_per_user=5,
        ),
        Offer(
            "A free cup of filter coffee on your first visit.", "CUP", 5000, 3460, _COFFEE, is_unique=True, starts=-30,
            max_per_user=1, low_stock_percent=25,
        ),
        Offer(
            "Oat milk at no extra charge, every morning until eleven.", "OATMORNING", 2500, 2390, (*_COFFEE, "vegan"),
            created=-26, low_stock_percent=10, max_per_user=4,
        ),
        Offer(
            "Two pastries for the price of one, with any hot drink.", "PASTRY2FOR1", 1500, 620, (*_COFFEE, "bakery"),
            created=-12, starts=-11, ends=2, max_per_user=2,
        ),
        Offer(
            "Half price on all drinks for students in Britain.", "STUDENT50", 800, 310, (*_COFFEE, "student"),
            created=-19, country="gb", ages=(16, 26), max_per_user=2, activation_events=True,
        ),
        Offer(
            "Autumn blend: buy two bags and get the third free.", "AUTUMN", 600, 600, (*_COFFEE, "beans"),
            is_unique=True, created=-28, stopped=-6.3, low_stock_percent=10, max_per_user=1,
        ),
        Offer(
            "Cold brew weekend: 30% off every bottle.", "COLDBREW30", 1000, 740, _COFFEE, created=-22, starts=-20,
            ends=-9, max_per_user=3,
        ),
        Offer(
            "Free delivery of your coffee subscription.", "FREEDELIVERY", 2000, 480, (*_COFFEE, "delivery"),
            created=-24, stopped=-4.4, closing="paused", max_per_user=2,
        ),
        Offer(
            "Winter gift box: 15% off, with a surprise from our roastery.", "GIFTBOX", 2000, 0, (*_COFFEE, "gifts"),
            is_unique=True, created=-3.2, starts=6, ends=40, max_per_user=1,
        ),
    ),
)  # fmt: skip
SHOPS = (MAIN, *GOODS, *LEISURE)
