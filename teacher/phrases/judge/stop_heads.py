"""Head nouns whose phrases name nothing that a box can be drawn around: lower-case lemmas, without ambiguous nouns.

A job adds words by `phrases.stop_heads` and removes words by `phrases.keep_heads`.
"""

from __future__ import annotations

from teacher.phrases.text.word_set import word_set

IMAGE = word_set(
    """royalty photo photograph photography pic image shot snapshot closeup close-up view footage video clip screenshot
    illustration vector clipart render rendering wallpaper stock detail concept background backdrop foreground texture
    caption copyspace copy credit resolution thumbnail panorama preview slideshow download jpeg png gif selfie
    collage photoshoot png jpg hd 4k gallery album template mockup pattern graphic"""
)
SPACE = word_set(
    """front back rear side top bottom left right middle center centre edge end beginning start distance direction
    position location place spot point inside outside part half rest section portion north south east west level
    angle height length width surroundings site earth area region environment scene nature"""
)
TIME = word_set(
    """time day night morning afternoon evening noon midnight today tonight yesterday tomorrow week weekend month
    year decade century hour minute second moment season spring summer autumn fall winter dawn dusk twilight daytime
    nighttime monday tuesday wednesday thursday friday saturday sunday january february march april may june july
    august september october november december birthday anniversary holiday vacation christmas easter halloween
    thanksgiving date period age era future past quarter"""
)
ABSTRACT = word_set(
    """way fact idea thing stuff kind type sort style size shape form color colour look use example version life
    shipping delivery
    love fun beauty name news info information tip guide quote quality sale price cost help work job chance reason
    result problem attention interest success support power energy experience history world universe music fashion
    business industry media action motion focus weather atmosphere mood feeling air career relationship battle game
    match practice competition championship tournament event ceremony festival premiere performance tour trip journey
    visit walk ride run jump swim fight break meeting conference interview celebration graduation death birth
    wedding party concert show session training service religion culture tradition technology science education
    health freedom peace happiness joy hope fear anger gratitude influence horror comedy drama crime war conflict
    decision plan project program process system design development research study analysis strategy
    data market value tax economy policy law right duty advantage treat sense emotion memory
    dream thought mind soul spirit spirituality advice review opinion question answer solution issue challenge
    opportunity difference importance need demand offer deal discount inspiration fitness wellness wellbeing
    lifestyle trend trending craft cooking shopping traveling travel sport soccer
    hockey cricket golf tennis rugby wrestling boxing swimming fishing hunting
    camping hiking skiing snowboarding surfing skating dancing singing reading writing playing working exercise yoga
    wildlife rise anatomy order role campaign launch release debut return arrival departure win victory defeat
    rate rehearsal title scale measure method technique effect impact change
    movement growth progress variety force pride honour honor respect courage talent skill ability
    personality attitude behavior behaviour habit sunset sunrise sunlight light darkness shade
    neighborhood neighbourhood nation economy trade transport transportation communication connection contact
    conversation discussion debate speech talk announcement statement report article post blog comment profile
    theme topic subject series edition volume chapter episode final round lap heat play move
    course class lesson lecture exam test grade score record honeymoon engagement marriage
    divorce romance affair lunchtime diy art decor
    interior construction renovation restoration installation maintenance repair
    chaos meaning secret mystery legend myth tale story fiction poetry literature"""
)
# A quantity, or a part of a place, only if `of` follows. The noun after `of` is a phrase of its own.
BEFORE_OF = word_set(
    """group pair couple bunch set lot number amount collection range row stack pile piece selection array handful
    majority bit plenty assortment dozen hundred thousand million mixture mix line circle corner surface
    base interior exterior area rest variety kind type sort part series"""
)
# The picture itself, only if a word for its content follows.
IMAGE_BEFORE_OF = word_set(
    """portrait painting drawing sketch silhouette picture artwork icon display symbol sign representation
    interpretation glimpse"""
)
# Places in the frame that are things after another noun: a tank top, a bikini bottom.
UNLESS_COMPOUND = word_set("top bottom")
# Words of a picture library's catalog that follow the thing: "red apples vector free download".
CATALOG = word_set(
    "vector illustration clipart stock photo photos image images free download png jpg icon wallpaper print"
)
MEASURES = word_set(
    "percent % inch cm mm m km ft foot kg lb oz ml meter metre mile kilometer kilometre gram pound degree pack pcs "
    "size qty usd eur gbp dollar euro"
)
PRONOUNS = word_set(
    """someone somebody something anyone anybody anything everyone everybody everything nobody nothing one ones other
    others another each all both some any none this that these those myself yourself himself herself itself
    ourselves themselves"""
)
STOP_HEADS = IMAGE | SPACE | TIME | ABSTRACT
