"""Small images as files, with the digests of the pixels and the hash that version 0.1.0 decoded from them."""

import base64

# Name → file (base85), digest of `load_rgb` at 32 and 20 pixels, `difference_hash`.
DECODED: dict[str, tuple[bytes, str, str]] = {
    "jpeg": (
        base64.b85decode(
            "|JeWF01!$>Nk#wx0RR9200961|JwjV02B@n5)Ta&5)cv>6%-gAG9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R(ZFhTtf"
            "`Lw8jhBplmUDiAeE-`3Lje^R7akfOJ0T%Ed{ahKe0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0"
            "+R-e0=}F01*fPFaRV20U`hb5di}c0sq7R9{>OW1pxs80RaI300000000010s{mE1_uZU3Jd?l0JRVR0s#X90t5pE1q1{D00D"
            "gg0s{a95d{(<F+m0sQDFxnaTGFvk)a49Lb1UWQqk}vGh%Xr2?`b$7#SKRCMPH<Dl|1VH#j*uLqtVJM@UIZQ&d$}S6EqEV`OD"
            "!XJ~0^b98lfcX)YvgM@{Khlq)al9QB`mY0~BnxdnmrKYE-sj9NGw6(UkxVgH*!^FkL$H>Xb($mz{*4NnC+Tr5k<mKk)=;`Y5"
            "^7Hid_V@Vt`v1fL9{~UZ0RaI40RaI40RR91000010s{mE1_uZU3Jd?l0JRYS0s#U91Oo&I1q1{D0Rndb0RjUN1O*{61`<J02"
            "Vrp&A~Jyp6he`qvB3!=Gg9ysVsg<679=#`CGi&+85$-hC@Cs6Ha9pqIzvQ7Mn_0VN>fx-R##YAT4Q8oW@l(=YIAgTc6WGrdV"
            "+(5g@%WSiHeewl$Dm3n3<ZQqok##r>Lo_va__cwzs&sy28W6#m2|T$;#5x)YaD4*xB0R<K*S$=jiF`^7Hid_V@Vt`v2Mh3<C"
            "iG0ucid06zfb5<0Mv)Yj1{W4L5utocX>3rm{EZW@H@Q}&6g71BDek<-#Tu#wfHrj<f59~4!g9~4y`%AuPQ?L8`WLTSkzSV-$"
            "DBjxb;%CLtdUY{X}9au=|=^a=|>XF$>p%{;fD$tLLDvsq)%t-3OM@~rU!be%7<LOiwk=2Bbo{`mrj;S7{DuiM_D62v~D5iHR"
            "hyU3"
        ),
        "f75faa2856f239f5",
        "ffffffffffffe9ff69ffebffefff7fffffffffffffffffffffffffffffffffff",
    ),
    "jpeg, progressive, turned": (
        base64.b85decode(
            "|JeWF01!$>Nk#wx0RR9200961|KR{4MR;ju002!*04e|g00;m90TKWM0000100sa600000|JwjV02B@n5)Ta&5)cv>6%-gAG"
            "9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R(ZFhTtf`Lw8jhBplmUDiAeE-`3Lje^R7akfOJ0T%Ed{ahKe0+R-e0+R-e0"
            "+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0=}H01*fPFaRV20U`hb5di}c0sq7R82|wQ0|5a500000000"
            "00000930RjXC|HJ?o0RRI50RR910000000000009C61qA=v01N{G00IyL5C8xH@>6OoX=v5VSZ~ahiI<ep8)hsw<x54!q_jO"
            "*iw*w(|HJ?o5CH)J0RaF20000000000000pI0ucY&00;pA009L8h=`7H5fPq5L_|bHL_|bHfB(b)84&;i0|5X40000000000"
            "000020Rs{d|Jncu0RsU6KLM>JmqM|kyP6}AD;gDrV@LnQ02L7d0RR9100000000000000HF#p;B2mt~C0Y3p_|HJ?k5CH%H0"
            "0000000000000006_oR00;pA00ut-cmKoy84v*h0RaI40000000000000315D_6!|Jncu0RaF3KOrFqU>)}3<U;|-A{Y>aFd"
            "+zFLJ-6M+5ij#0RRF30{{R35bVz)$S;ob|HJ?p5dZ@L0RaF20000000000009sY03m_@+5iXv0|5a)5S$SdGM?v(4MRWw!~h"
            "r(00RL5000000000000000009sYA^+L{2mt~C0Y4DnQxKvQ|HJ?q5C8%L0RaF2000000000000AKY5g-sT|Jncu0RaF3KM=)"
            "GNO4ldO2X=bOP)fW&`i|?%}`9$1fT!e"
        ),
        "3d6679a28d4de3e8",
        "0000000000400010000000000000000000000000000000000000000000000000",
    ),
    "jpeg, grey": (
        base64.b85decode(
            "|JeWF01!$>Nk#wx0RR9200961|JwjV02B@n5)Ta&5)cv>6%-gAG9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R(ZFhTtf"
            "`Lw8jhBplmUDiAeE+}z3kU!(03-nc5di<h03QGV0R;g80RaI400000000000RjUA1qKHQ2?`7U!~nGr00IF60|EpC1qB2I00"
            "04f0RjU61Q7)iAu&M)6H#FYB5@QlfsvsIBSNvk6;jdgBr{@if(Z&17Z@2DB_<~*DJnEIHa9pqIzvQ7Mn_0VN>fx-R##YAT4Q"
            "8oW@l(=YIAgTc6WGrdV_?8hKGoWijtF*m6n&7nVO=bq@|{(sHv*5v$VCgx45~w!o$SH#>dFX%F@%+)z;V8+1laa<K*S$=jiF"
            "`@$&QZ_4fDp`TGCb00;pA002J#<q|ruk<{rOSV-z|9~GZ%5|%rLMk>#gfN-?*j;thgFprAOiFTfqI-xZ>M^+L#oJYlFq;+8<"
            "s|g)gNa|r96_}CLgpQ|3>cU4;i1@6uj;thgVI!*v9ZVzQzyH|"
        ),
        "aa0c64323902f4d6",
        "ffffffffffffe9fff1ffebffefffffffffffffffffffffffffffffffffffffff",
    ),
    "jpeg, cmyk": (
        base64.b85decode(
            "|JeWT01iQ9Z(?NtWB>pF0095n07C#95)>B{5gQj47aklNASgmBC?zE*Q93;^LSR*8WM5TXTWWZjfogG(b6Z`7wT6(MqpPi}X"
            "MnuPx~9jOsH>#^zyK5o05AX~1Va%3O%VWD5dcdO0RO}Q9{>OW1pxs80RaI300000000010s{mE1_uZU3Jd?l0JRVR0s#X90t"
            "5pE1q1{D00Dgg0s{a95d{(<F+m0sQDFxnaTGFvk)a49Lb1UWQqk}vGh%Xr2?`b$7#SKRCMPH<Dl|1VH#j*uLqtVJM@UIZQ&d"
            "$}S6EqEV`OD!XJ~0^b98lfcX)YvgM@{Khlq)al9QB`mY0~BnxdnmrKYE-sj9NGw6(UkxVgH*!^FkL$H>Xb($mz{*4NnC+Tr5"
            "k<mKk)=;`Y5^7Hid_V@Vt`v2Mh4g^C0O#oQ{O8@{r0KkH|?<%?UO6jXc3OuTv5{l7+k1DJpQCbjD<y7dDRpk4$c~vk@D6U7t"
            "cCg*uymO}Y5taiabCK!ws}qA70yyUtml_WAS3^FTXBE7zkl~dH2XX6<twN5>>NC{irAVWYD6Hrz*OgY0D6I%6@~U)7D)N2WJ"
            "gS%{6jv9b-+yP^G`?S%xi;f=JA?fy#P+^&1<u?Y=NYV}Oo}UQwZA?WkL>$*sa)^QGx$^~r<HYYGdMZM+L0hR2R%KgsGzG}Ra"
            "-=&v>>C(snIB_$@ggTs$iT^UVjB#@~bTpiqV3PDyKxEv|yvksnIB{2q^NZbV@4necC*#m?sohpTSo=s>?*8v|yvksnIB{7%1"
            "|pbV@5i3OuTv5{kT^c8@Bi3B?uX@Kw($ve7857%1|pbV@5m3OuTv5{l4*k1D4`qOT|2qspm*aYcXs*#"
        ),
        "21c4b40aa4afd802",
        "fffffffffffff9ffe9ffebffefffffffffffffffffffffffffffffffffffffff",
    ),
    "png, palette": (
        base64.b85decode(
            "iBL{Q4GJ0x0000DNk~Le0000a0000m1Oos70E=nGCIA2c7*I@9MYhe!wvVJZ&67BfZpcZ2;S5bpP*F-0EZTavu>b%7i%CR5R"
            "Ct`tkx>eRFbqInTo0f(8F;vzval0~H;Dhkb{}f06^d>M=BMHHC2feju;`|vVi#o;4p{}{QW_PYSs|U;t0CPKh8~dm^otsEEA"
            "{P9_4;RQX)^1*w?+>wz{jUT@bGw=CGC=RSA5k_IAj&kvd1`BG9%l7&XxjVH*RYHxE$PM#-Gs_8DAnzYnJqD00000NkvXXu0m"
            "jf"
        ),
        "42199b3859e33407",
        "00e000e007e067e0e0e060c060c001c001c003800383fffff1f8038003800380",
    ),
    "png, turned": (
        base64.b85decode(
            "iBL{Q4GJ0x0000DNk~Le0000a0000m0s{a500b#8h5!Hn3{Xr|MYgZEIIn@zENM$KKY#~a(EtDd8f92XW=%~1DgXcg2mk>A5"
            "&#1L000311^@s60002iXG>`S002};L_t(|oUM+r34kyZMBkT;7@Ws_(m2AOB1_n$u`+NeL`1Mk(mn2Y+?fEb9Torz4>64bhg"
            "<w>ecFZzAbm0<>AWB04FQC;YoiYQD+BIJ-sd){Jrb{DRpZJ40000<MNUMnLSTX"
        ),
        "c3831166e8ef0863",
        "0000004000600060006000600060000000000000000000000000000000000000",
    ),
    "png, 16 bits": (
        base64.b85decode(
            "iBL{Q4GJ0x0000DNk~Le0000G0000C5C8xG03IB^9smFVaY;l$RCt^P!Ou&RaR3JJz1#ad6z%!4p_?tkMVJ~d@3wcZ+xtaYL"
            "V2(bT~>!~T|DV!;ExTN`D@Uj@KB+FxQmBQg11gVfgq&dwST~abSUq-KA#xRlMmA02PW=*yI&qX^6TX@`@DAi^wIRs7mw?wuZ"
            "vFKCZ_QUPk4euUT~1J*yTLd*+!FHM9#f4B(iUA6yk%4Td^P4@A-#oSmY;caTy;u<r?dDvvW7Q*B@e+SM}Z~{?bFpehe|q350"
            "R^X3KeZmFNY%hC84G6RB*9vgVG)lv2voBr1-a8ptGe=yM1aj-$W`A%7u?E2DAk>f9{q()^RJoHCNEN~)+LFRr}O^35}qji<Z"
            "`WX-TjCZ(JiRv_!j(!(AP(a+l`v4{dK0zSkDGsrUOngEmV8Nz2CeH5zn5HUoF79%XWT0oU6SYiupHt?1&(c%m`Y@)?Bnr^bm"
            "8V<OL&s@b<Hn7bNbhv^J_xT0C{{sucQR)~7fEWM(002ovPDHLkV1f"
        ),
        "c0820fcfd474661c",
        "fffffffffffffdfff1fff3ffffffffffffffffffffffffffffffffffffffffff",
    ),
    "webp": (
        base64.b85decode(
            "Qb|Te&;S4cS4BclR!}$~!~g&QkOu&r0V*T_FaSR7VyRB4zoa5D)@lRr9f@cFx9hQ10N!vJ33y!5-Y6kzxQ8~+Z<wKY10Q{p&"
            "IpbeN|&b3ZiU%(0092-snH8f?l=c4BJ~4O3trN_WWUIfr)&3$dAVj+{Bhe6$+Y16r};{F-n7<#4+RmPNwv4#=uT;T3S#Pm_Y"
            "NIzd**kr^nc9#H8fyjdvlb_wp)Hv%GHMCyaT+=D?9i^igpo#h}WSU&X2cR?Q{@^RJvz{&qAg|{(t}g"
        ),
        "486fb6159f23c3a7",
        "fffffffffffff1ffe3ffe7fff7ffffffffffffffffffffffffffffffffffffff",
    ),
    "gif": (
        base64.b85decode(
            "M@dFFH(?|IFaUu70Jg8UIIn@zENM$KKP&(M001NaFaSUZ)c^+w97wRB!2tpiDqOhmphJTUBQ_)`QDMP~6$5D8$gv|w03bt(9"
            "0}5+$&Msbjy%ayrAv?xV+zC=@ghc>G$+bDn3EyPpD$DXG#OOoP?SYe?tIwO;!>VX1>lqjG3wNs6r)PbTJdVmrvx=74SAI4*p"
            "g*Go<*Bh>{<YA-M)?cmTcR)Fu{7gsh4ZdzJ9*~o@sS3!omY-R&Bc1X=1I76Go;QnBioskGob@JXq`2fobQ)l{<Dc>7=IXrWQ"
            "??b!gSCU6;i>n)Y4WuVLqY8xR0H"
        ),
        "7ca3b4935111955f",
        "00e000e000e060e060c060c060c061c061c001c0018003800380038003800300",
    ),
}
