"""Volumes and volume claims: which of their fields are governed, and which values equal absence.

Field names and types: Kubernetes 1.37, ``core/v1``. Defaults: its ``SetDefaults_*`` functions and ``+default``
markers; tests hold them against the real API server.
"""

from __future__ import annotations

from typing import Final

from placet.projection.shapes import Flag, Integer, Quantity, Record, Records, Scalars, Shape, Text, TextMap

TEXTS: Final = Scalars(Text(keeps_empty=True))
# 0644: the mode of projected files where none is given.
_FILE_MODE: Final = 420
_EITHER: Final = Flag(default=None)

_LOCAL_REFERENCE: Final = Record("core.v1.LocalObjectReference", {"name": Text()})

FIELD_REF: Final = Record(
    "core.v1.ObjectFieldSelector", {"apiVersion": Text(default="v1"), "fieldPath": Text()}, chosen=True
)
RESOURCE_FIELD_REF: Final = Record(
    "core.v1.ResourceFieldSelector",
    {"containerName": Text(), "divisor": Quantity(zero_is_absent=True), "resource": Text()},
    chosen=True,
)
LABEL_SELECTOR: Final = Record(
    # An empty selector selects everything, an absent one nothing.
    "apimachinery.pkg.apis.meta.v1.LabelSelector",
    {
        "matchLabels": TextMap(),
        "matchExpressions": Records(
            Record(
                "apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement",
                {"key": Text(), "operator": Text(), "values": TEXTS},
            )
        ),
    },
    chosen=True,
)

_KEY_TO_PATH: Final = Records(
    Record("core.v1.KeyToPath", {"key": Text(), "mode": Integer(), "path": Text(), "user": Integer()})
)
_DOWNWARD_FILES: Final = Records(
    Record(
        "core.v1.DownwardAPIVolumeFile",
        {
            "fieldRef": FIELD_REF,
            "mode": Integer(),
            "path": Text(),
            "resourceFieldRef": RESOURCE_FIELD_REF,
            "user": Integer(),
        },
    )
)


def _source(definition: str, /, **governed: Shape) -> Record:
    return Record(f"core.v1.{definition}", governed, chosen=True)


def _files(definition: str, /, **governed: Shape) -> Record:
    return _source(definition, defaultMode=Integer(default=_FILE_MODE), defaultUser=Integer(), **governed)


_PROJECTED_SOURCES: Final = Records(
    Record(
        "core.v1.VolumeProjection",
        {
            "clusterTrustBundle": _source(
                "ClusterTrustBundleProjection",
                labelSelector=LABEL_SELECTOR,
                name=Text(),
                optional=_EITHER,
                path=Text(),
                signerName=Text(),
                user=Integer(),
            ),
            "configMap": _source("ConfigMapProjection", items=_KEY_TO_PATH, name=Text(), optional=_EITHER),
            "downwardAPI": _source("DownwardAPIProjection", items=_DOWNWARD_FILES),
            "podCertificate": _source(
                "PodCertificateProjection",
                certificateChainPath=Text(),
                credentialBundlePath=Text(),
                keyPath=Text(),
                keyType=Text(),
                maxExpirationSeconds=Integer(),
                signerName=Text(),
                user=Integer(),
                userAnnotations=TextMap(),
            ),
            "secret": _source("SecretProjection", items=_KEY_TO_PATH, name=Text(), optional=_EITHER),
            "serviceAccountToken": _source(
                "ServiceAccountTokenProjection",
                audience=Text(),
                expirationSeconds=Integer(default=3600),
                path=Text(),
                user=Integer(),
            ),
        },
    )
)

CLAIM_SPEC: Final = Record(
    "core.v1.PersistentVolumeClaimSpec",
    {
        "accessModes": TEXTS,
        "dataSource": _source("TypedLocalObjectReference", apiGroup=Text(), kind=Text(), name=Text()),
        "dataSourceRef": _source("TypedObjectReference", apiGroup=Text(), kind=Text(), name=Text(), namespace=Text()),
        "selector": LABEL_SELECTOR,
        # "" asks for no class at all, absence for the cluster's default one.
        "storageClassName": Text(keeps_empty=True),
        "volumeAttributesClassName": Text(),
        "volumeMode": Text(default="Filesystem"),
        "volumeName": Text(),
    },
    # Sizes only.
    ungoverned=frozenset({"resources"}),
)

# A volume without any source is an empty directory, so an empty one is the same as absence.
_EMPTY_DIR: Final = Record(
    "core.v1.EmptyDirVolumeSource", {"medium": Text(), "mode": Integer(), "sizeLimit": Quantity()}
)

VOLUME: Final = Record(
    "core.v1.Volume",
    {
        "name": Text(),
        "awsElasticBlockStore": _source(
            "AWSElasticBlockStoreVolumeSource",
            fsType=Text(),
            partition=Integer(default=0),
            readOnly=Flag(),
            volumeID=Text(),
        ),
        "azureDisk": _source(
            "AzureDiskVolumeSource",
            cachingMode=Text(default="ReadWrite"),
            diskName=Text(),
            diskURI=Text(),
            fsType=Text(default="ext4"),
            kind=Text(default="Shared"),
            readOnly=Flag(),
        ),
        "azureFile": _source("AzureFileVolumeSource", readOnly=Flag(), secretName=Text(), shareName=Text()),
        "cephfs": _source(
            "CephFSVolumeSource",
            monitors=TEXTS,
            path=Text(),
            readOnly=Flag(),
            secretFile=Text(),
            secretRef=_LOCAL_REFERENCE,
            user=Text(),
        ),
        "cinder": _source(
            "CinderVolumeSource", fsType=Text(), readOnly=Flag(), secretRef=_LOCAL_REFERENCE, volumeID=Text()
        ),
        "configMap": _files("ConfigMapVolumeSource", items=_KEY_TO_PATH, name=Text(), optional=_EITHER),
        "csi": _source(
            "CSIVolumeSource",
            driver=Text(),
            fsType=Text(),
            nodePublishSecretRef=_LOCAL_REFERENCE,
            readOnly=_EITHER,
            volumeAttributes=TextMap(),
        ),
        "downwardAPI": _files("DownwardAPIVolumeSource", items=_DOWNWARD_FILES),
        "emptyDir": _EMPTY_DIR,
        "ephemeral": _source(
            "EphemeralVolumeSource",
            volumeClaimTemplate=Record(
                "core.v1.PersistentVolumeClaimTemplate", {"spec": CLAIM_SPEC}, ungoverned=frozenset({"metadata"})
            ),
        ),
        "fc": _source("FCVolumeSource", fsType=Text(), lun=Integer(), readOnly=Flag(), targetWWNs=TEXTS, wwids=TEXTS),
        "flexVolume": _source(
            "FlexVolumeSource",
            driver=Text(),
            fsType=Text(),
            options=TextMap(),
            readOnly=Flag(),
            secretRef=_LOCAL_REFERENCE,
        ),
        "flocker": _source("FlockerVolumeSource", datasetName=Text(), datasetUUID=Text()),
        "gcePersistentDisk": _source(
            "GCEPersistentDiskVolumeSource",
            fsType=Text(),
            partition=Integer(default=0),
            pdName=Text(),
            readOnly=Flag(),
        ),
        "gitRepo": _source("GitRepoVolumeSource", directory=Text(), repository=Text(), revision=Text()),
        "glusterfs": _source("GlusterfsVolumeSource", endpoints=Text(), path=Text(), readOnly=Flag()),
        "hostPath": _source("HostPathVolumeSource", path=Text(), type=Text()),
        "image": Record(
            "core.v1.ImageVolumeSource", {"reference": Text()}, ungoverned=frozenset({"pullPolicy"}), chosen=True
        ),
        "iscsi": _source(
            "ISCSIVolumeSource",
            chapAuthDiscovery=Flag(),
            chapAuthSession=Flag(),
            fsType=Text(),
            initiatorName=Text(),
            iqn=Text(),
            iscsiInterface=Text(default="default"),
            lun=Integer(default=0),
            portals=TEXTS,
            readOnly=Flag(),
            secretRef=_LOCAL_REFERENCE,
            targetPortal=Text(),
        ),
        "nfs": _source("NFSVolumeSource", path=Text(), readOnly=Flag(), server=Text()),
        "persistentVolumeClaim": _source("PersistentVolumeClaimVolumeSource", claimName=Text(), readOnly=Flag()),
        "photonPersistentDisk": _source("PhotonPersistentDiskVolumeSource", fsType=Text(), pdID=Text()),
        "portworxVolume": _source("PortworxVolumeSource", fsType=Text(), readOnly=Flag(), volumeID=Text()),
        "projected": _files("ProjectedVolumeSource", sources=_PROJECTED_SOURCES),
        "quobyte": _source(
            "QuobyteVolumeSource",
            group=Text(),
            readOnly=Flag(),
            registry=Text(),
            tenant=Text(),
            user=Text(),
            volume=Text(),
        ),
        "rbd": _source(
            "RBDVolumeSource",
            fsType=Text(),
            image=Text(),
            keyring=Text(default="/etc/ceph/keyring"),
            monitors=TEXTS,
            pool=Text(default="rbd"),
            readOnly=Flag(),
            secretRef=_LOCAL_REFERENCE,
            user=Text(default="admin"),
        ),
        "scaleIO": _source(
            "ScaleIOVolumeSource",
            fsType=Text(default="xfs"),
            gateway=Text(),
            protectionDomain=Text(),
            readOnly=Flag(),
            secretRef=_LOCAL_REFERENCE,
            sslEnabled=Flag(),
            storageMode=Text(default="ThinProvisioned"),
            storagePool=Text(),
            system=Text(),
            volumeName=Text(),
        ),
        "secret": _files("SecretVolumeSource", items=_KEY_TO_PATH, optional=_EITHER, secretName=Text()),
        "storageos": _source(
            "StorageOSVolumeSource",
            fsType=Text(),
            readOnly=Flag(),
            secretRef=_LOCAL_REFERENCE,
            volumeName=Text(),
            volumeNamespace=Text(),
        ),
        "vsphereVolume": _source(
            "VsphereVirtualDiskVolumeSource",
            fsType=Text(),
            storagePolicyID=Text(),
            storagePolicyName=Text(),
            volumePath=Text(),
        ),
    },
)
