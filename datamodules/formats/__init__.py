"""Annotation formats, one a file: each reads records of its kind as `RegionSample`s."""

from datamodules.formats.action_genome import ActionGenome
from datamodules.formats.activitynet_entities import ActivityNetEntities
from datamodules.formats.ava_kinetics import AvaKinetics
from datamodules.formats.bdd100k_mot import Bdd100kMot
from datamodules.formats.bensmot import BenSmot
from datamodules.formats.causal_vidqa import CausalVidQa
from datamodules.formats.coco_in_words import CocoInWords
from datamodules.formats.coco_instances import CocoInstances
from datamodules.formats.dlc_bench import DlcBench
from datamodules.formats.elysium_track import ElysiumTrack
from datamodules.formats.ferret_bench import FerretBench
from datamodules.formats.gar_bench import GarBenchCaption, GarBenchVqa
from datamodules.formats.grit_captions import GritCaptions
from datamodules.formats.hc_stvg import HcStvg
from datamodules.formats.hc_stvg_masks import HcStvgMasks
from datamodules.formats.llava_instruct import LlavaInstruct
from datamodules.formats.lv_vis import LvVis
from datamodules.formats.mdetr_refexp import MdetrRefexp
from datamodules.formats.mdvp_bench import MdvpBench
from datamodules.formats.mevis import Mevis
from datamodules.formats.osprey_categories import OspreyCategories
from datamodules.formats.osprey_conversations import OspreyConversations
from datamodules.formats.osprey_questions import OspreyQuestions
from datamodules.formats.point_qa import PointQa
from datamodules.formats.pope import Pope
from datamodules.formats.ref_l4 import RefL4
from datamodules.formats.ref_youtube_vos import RefYoutubeVos
from datamodules.formats.refcocog import RefCoco, RefCocog
from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.formats.revos import Revos
from datamodules.formats.v3det import V3Det
from datamodules.formats.vcr import Vcr
from datamodules.formats.vid_stg import VidStg
from datamodules.formats.videorefer_bench_d import VideoReferBenchD
from datamodules.formats.videorefer_bench_q import VideoReferBenchQ
from datamodules.formats.videorefer_instruct import VideoReferInstruct
from datamodules.formats.vip_bench import VipBench
from datamodules.formats.visual7w import Visual7W
from datamodules.formats.visual_genome import VisualGenomeRegions

__all__ = [
    "ActionGenome",
    "ActivityNetEntities",
    "AvaKinetics",
    "Bdd100kMot",
    "BenSmot",
    "CausalVidQa",
    "CocoInWords",
    "CocoInstances",
    "DlcBench",
    "ElysiumTrack",
    "FerretBench",
    "GarBenchCaption",
    "GarBenchVqa",
    "GritCaptions",
    "HcStvg",
    "HcStvgMasks",
    "LlavaInstruct",
    "LvVis",
    "MdetrRefexp",
    "MdvpBench",
    "Mevis",
    "OspreyCategories",
    "OspreyConversations",
    "OspreyQuestions",
    "PointQa",
    "Pope",
    "RefCoco",
    "RefCocog",
    "RefL4",
    "RefYoutubeVos",
    "RegionJsonl",
    "Revos",
    "V3Det",
    "Vcr",
    "VidStg",
    "VideoReferBenchD",
    "VideoReferBenchQ",
    "VideoReferInstruct",
    "VipBench",
    "Visual7W",
    "VisualGenomeRegions",
]
